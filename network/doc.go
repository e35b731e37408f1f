// Package network has the interfaces between the fixtures and what carries them: the kernel's
// loopback or a simulated network. A [Stack] binds and dials. A [Port] is a bound address, whose
// answer to a connect can change, and a [PacketPort] is one for datagrams. A [Conn] is one end of
// a connection.
//
// To run fixtures on a network of your own, implement these four interfaces. Fixtures, leak tests
// and reports use nothing else: no method is found by type assertion. What your network cannot do
// returns an error that wraps [errors.ErrUnsupported]; fixtures and reports then do without, or
// skip the test.
//
// The package imports only the standard library.
package network
