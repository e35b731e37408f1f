package sockettest

import (
	"fmt"
	"net"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
)

// A socketTable knows which sockets the code under test has open. A network that is not the kernel's has its own.
type socketTable interface {
	SocketsTo(addr net.Addr) (map[string]uint64, error) // the numbers of those connected to it, by their own address
	HasSocket(number uint64) bool
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

// SocketsTo asks the kernel.
func (kernelTable) SocketsTo(addr net.Addr) (map[string]uint64, error) {
	return rawsock.SocketsTo(addr)
}

// HasSocket asks the kernel.
func (kernelTable) HasSocket(inode uint64) bool { return rawsock.HasSocket(inode) }

// otherEnds returns the numbers of the sockets that the code under test has at the other ends of the connections, of which
// there is one or more.
func otherEnds(conns []*fixtures.Conn, table socketTable, attack bool) (map[*fixtures.Conn]uint64, error) {
	if conns[0].LocalAddr().Network() == "unix" {
		return unixOtherEnds(conns)
	}
	sockets, of, theirs := table.SocketsTo, conns[0].LocalAddr(), (*fixtures.Conn).RemoteAddr
	if attack {
		sockets, of, theirs = rawsock.SocketsAt, conns[0].RemoteAddr(), (*fixtures.Conn).LocalAddr
	}
	numbers, err := sockets(of)
	found := map[*fixtures.Conn]uint64{}
	for _, c := range conns {
		if n, here := numbers[theirs(c).String()]; here {
			found[c] = n
		}
	}
	return found, err
}

// unixOtherEnds asks for each connection who is at its other end: the clients of a unix socket have no address by which
// they could be told apart. One that is not shown is not blamed.
func unixOtherEnds(conns []*fixtures.Conn) (map[*fixtures.Conn]uint64, error) {
	here, err := rawsock.Inodes()
	found := map[*fixtures.Conn]uint64{}
	for _, c := range conns {
		if info, _ := c.Info(); info.Other != nil && here[info.Other.Inode] {
			found[c] = info.Other.Inode
		}
	}
	return found, err
}

// keepSockets is how many connections a report shows the sockets of.
const keepSockets = 5

// endsOf asks an endpoint for both ends of its connections, if it can tell.
func endsOf(ep any) []fixtures.Ends {
	if e, ok := ep.(interface{ Ends() []fixtures.Ends }); ok {
		return e.Ends()
	}
	return nil
}

// sockets writes both ends of each connection, like a small ss(8).
func (f failure) sockets() []string {
	var lines []string
	for i, e := range f.result.ends {
		if i == keepSockets {
			return append(lines, fmt.Sprintf("... %d more", len(f.result.ends)-keepSockets))
		}
		lines = append(lines, endsLines(e)...)
	}
	return lines
}

func endsLines(e fixtures.Ends) []string {
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
