package rawsock

import "net/netip"

// A Socket is one socket that this process has open, by one or more descriptors.
type Socket struct {
	Inode  uint64 // names the socket; not used again soon, as descriptors are
	Family string // "tcp4", "tcp6", "udp4", "udp6", "unix", or the numbers of another
	Local  string // the address, empty if it has none
	Remote string // the other end's, empty if it has none
	State  string // of TCP, in RFC 9293's words; empty otherwise
}

// A Packet is what the headers of a TCP segment or a UDP datagram say.
type Packet struct {
	From, To           netip.AddrPort
	UDP                bool
	SYN, ACK, FIN, RST bool
	Bytes              int // of payload
}
