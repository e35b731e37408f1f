// Package network is the seam between the fixtures and whatever carries them: the kernel's loopback or a simulated
// network. It holds small interfaces and their words, no code: a [Stack] binds and dials, a [Port] is a bound
// address whose answer to a connect can be changed, a [PacketPort] one that takes datagrams, a [Conn] is one end of a
// connection.
//
// It imports nothing but the standard library, and knows neither fixtures nor system calls.
package network
