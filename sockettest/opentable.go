package sockettest

import (
	"net"

	"example.com/go-sockettest/internal/shared"
	"example.com/go-sockettest/network"
)

// An openTable is what a network had at one moment.
type openTable struct {
	err       error
	numbers   map[uint64]network.Socket
	connected map[bothEnds][]network.Socket
	toward    map[string][]network.Socket // by remote address, those of streams
}

// these returns those of the sockets that are open still, as they are now.
func (o *openTable) these(sockets []network.Socket) (open []network.Socket) {
	for _, before := range sockets {
		if s := o.numbers[before.Number]; s.Number != 0 {
			open = append(open, s)
		}
	}
	return open
}

// A bothEnds has the two addresses of a connection, seen from one end.
type bothEnds struct{ local, remote string }

// kernelSockets are all looks at the kernel's: a thousand parallel tests with a descriptor or two
// each would otherwise read a million.
var kernelSockets shared.Look[*openTable]

// openNow asks the network. What it returns is shared, and not to be changed.
func openNow(t network.Stack) *openTable {
	if t == Kernel {
		return kernelSockets.Now(func() *openTable { return indexed(t) })
	}
	return indexed(t)
}

func indexed(t network.Stack) *openTable {
	all, err := t.Connected()
	o := &openTable{err: err, numbers: make(map[uint64]network.Socket, len(all)), connected: make(map[bothEnds][]network.Socket, len(all)),
		toward: make(map[string][]network.Socket, len(all))}
	for _, s := range all {
		o.numbers[s.Number] = s
		at := bothEnds{s.Local, s.Remote}
		o.connected[at] = append(o.connected[at], s)
		if _, _, ip := net.SplitHostPort(s.Remote); s.Remote != "" && (s.State != "" || ip != nil) { // else a UDP socket
			o.toward[s.Remote] = append(o.toward[s.Remote], s)
		}
	}
	return o
}
