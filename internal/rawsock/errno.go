package rawsock

// A Fault is what an errno means to whoever dialled, read or wrote, whatever the platform calls it. [FaultOf] gives it,
// and [ErrnoName] the platform's own name.
//
// It errs towards [UnknownFault]: an errno that means different things in different calls (ENOTCONN, EINTR) is not
// guessed at.
type Fault int

// The faults.
const (
	NoFault       Fault = iota // errno 0
	Refused                    // RST answered the SYN (RFC 9293, section 3.5.2)
	ResetByPeer                // the connection is gone: RST has arrived, or a write came after it
	KernelTimeout              // the kernel gave up retransmitting or probing; no deadline of Go's
	Unreachable                // no route, or an ICMP message said so
	Exhausted                  // no descriptor, port, buffer or place in a backlog is left
	Invalid                    // wrong parameters: an address, option, file or right that cannot do
	UnknownFault               // none of these, or more than one
)
