package rawsock

// A PeerState is what the kernel knows of the other end of a connection, without reading from it.
type PeerState int

// The states of the other end.
const (
	PeerUnknown PeerState = iota // the platform does not tell
	PeerOpen                     // neither FIN nor RST has arrived
	PeerFIN                      // FIN has arrived: the other side closed, or half-closed (RFC 9293, section 3.6)
	PeerRST                      // RST has arrived (RFC 9293, section 3.5.2), or both sides are done
)
