// Package contact counts what a port has met of its clients. It imports nothing of the project.
package contact

// A Count is what a port has met up to now.
type Count struct {
	Signs int  // connects, or datagrams, and whatever else clients did that it sees; it never falls
	Open  int  // connections that clients hold; where only the accept queue is known, those that wait in it
	All   bool // as it answers now, each connect is counted
}

// A Counter is a port that counts what it meets. Where the kernel does not tell, a port is none.
type Counter interface{ Met() Count }
