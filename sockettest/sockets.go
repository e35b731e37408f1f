package sockettest

import (
	"fmt"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
)

// An openTable is what a network had at one moment.
type openTable struct {
	err       error
	numbers   map[uint64]network.Socket
	connected map[bothEnds][]network.Socket
}

// A bothEnds has the two addresses of a connection, seen from one end.
type bothEnds struct{ local, remote string }

// kernelSockets is shared: a thousand parallel tests with a descriptor or two each would otherwise
// read a million.
var kernelSockets = shared[*openTable]{take: func() *openTable { return indexed(Kernel) }}

// openNow asks the network. What it returns is shared, and not to be changed.
func openNow(t network.Stack) *openTable {
	if t == Kernel {
		return kernelSockets.now()
	}
	return indexed(t)
}

func indexed(t network.Stack) *openTable {
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
