package rawsock

import "net/netip"

// A Packet is what the headers of a TCP segment or a UDP datagram say.
type Packet struct {
	From, To           netip.AddrPort
	UDP                bool
	SYN, ACK, FIN, RST bool
	Bytes              int // of payload
}
