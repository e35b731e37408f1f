package network

// A Socket is one end of a TCP or unix connection that its owner has not closed, whatever has
// become of the connection.
type Socket struct {
	Number uint64 // names the socket on its network; not used again soon
	Local  string // its own address; empty if it has none
	Remote string // the other end's address, also after that end has gone; empty if it has none
	State  string // of TCP, in RFC 9293's words; empty otherwise
}
