package network

import "net"

// A PacketPort is a UDP address that is bound and held. It starts serving: datagrams arrive, and
// what is done with them is up to the reader. Its methods may be called from any goroutine.
// LocalAddr is the bound address; after Close each method returns an error that wraps
// [net.ErrClosed].
type PacketPort interface {
	net.PacketConn

	// Refuse answers each datagram that arrives from now on with ICMP port unreachable: a
	// client whose socket is connected gets ECONNREFUSED from its next call, one whose is not
	// never learns. What had arrived can still be read, and reads that wait go on waiting.
	// Where the platform cannot do it, the error wraps [errors.ErrUnsupported], with GOOS and
	// the reason.
	Refuse() error

	// Serve lets datagrams arrive again.
	Serve() error

	// Visits returns what clients have done at the port so far.
	Visits() Visits

	// Mechanism is that of [Port].
	Mechanism() string
}
