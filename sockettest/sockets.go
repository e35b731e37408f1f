package sockettest

import (
	"fmt"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// A socketTable knows which sockets the code under test has open. A network that is not the kernel's has its own.
type socketTable interface {
	Connected() ([]network.Socket, error)
}

// tableOf returns that of the running fixture's network.
func tableOf(f any) socketTable {
	if on, ok := f.(interface{ Stack() network.Stack }); ok {
		if t, ok := on.Stack().(socketTable); ok {
			return t
		}
	}
	return kernelTable{}
}

// kernelTable is the process's own sockets.
type kernelTable struct{}

// Connected asks the kernel.
func (kernelTable) Connected() ([]network.Socket, error) {
	all, err := rawsock.Sockets()
	found := make([]network.Socket, len(all))
	for i, s := range all {
		found[i] = network.Socket{Number: s.Inode, Local: named(s.Local), Remote: named(s.Remote), State: s.State}
	}
	return found, err
}

// named leaves out "@", which is how the address of a unix socket without a name reads.
func named(address string) string {
	if address == "@" {
		return ""
	}
	return address
}

// An openTable is what a socketTable had at one moment.
type openTable struct {
	err       error
	numbers   map[uint64]network.Socket
	connected map[bothEnds][]network.Socket
}

// A bothEnds has the two addresses of a connection, seen from one end.
type bothEnds struct{ local, remote string }

// kernelSockets is shared: a thousand parallel tests with a descriptor or two each would otherwise read a million.
var kernelSockets = shared[*openTable]{take: func() *openTable { return indexed(kernelTable{}) }}

// openNow asks the table. What it returns is shared, and not to be changed.
func openNow(t socketTable) *openTable {
	if t == (kernelTable{}) {
		return kernelSockets.now()
	}
	return indexed(t)
}

func indexed(t socketTable) *openTable {
	all, err := t.Connected()
	o := &openTable{err: err, numbers: make(map[uint64]network.Socket, len(all)), connected: make(map[bothEnds][]network.Socket, len(all))}
	for _, s := range all {
		o.numbers[s.Number] = s
		at := bothEnds{s.Local, s.Remote}
		o.connected[at] = append(o.connected[at], s)
	}
	return o
}

// keepSockets is how many connections a report shows the sockets of.
const keepSockets = 5

// socketsOf asks an endpoint for both ends of its connections, if it can tell.
func socketsOf(ep any) []fixtures.Sockets {
	if e, ok := ep.(interface{ Sockets() []fixtures.Sockets }); ok {
		return e.Sockets()
	}
	return nil
}

// sockets writes both ends of each connection, like a small ss(8).
func (f failure) sockets() []string {
	var lines []string
	for i, e := range f.result.sockets {
		if i == keepSockets {
			return append(lines, fmt.Sprintf("... %d more", len(f.result.sockets)-keepSockets))
		}
		lines = append(lines, socketLines(e)...)
	}
	return lines
}

func socketLines(e fixtures.Sockets) []string {
	const format = "%-3s %-7s  %v  %v"
	if e.Own == nil {
		return []string{fmt.Sprintf(format, "-", "peer", e.Peer, e.Other)}
	}
	lines := []string{fmt.Sprintf(format, fmt.Sprintf("#%d", e.Conn), "fixture", e.Local, e.Own)}
	if e.Other == nil {
		return append(lines, fmt.Sprintf(format, "", "peer", e.Peer, "no socket on this machine, or none that is shown"))
	}
	return append(lines, fmt.Sprintf(format, "", "peer", e.Peer, e.Other))
}
