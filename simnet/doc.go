// Package simnet is a network in memory that answers as Linux's TCP does: in virtual time inside a
// testing/synctest bubble, where an hour takes microseconds, and in real time outside one.
//
//	func TestReadTimeout(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			nw := simnet.New(t)
//			ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))
//			client := db.Client{Addr: ep.Addr(), Dial: nw.DialContext, ReadTimeout: 30 * time.Second}
//
//			sockettest.Expect(t, ep, sockettest.TimedOut.At(30*time.Second), client.Ping)
//		})
//	}
//
// # When to use which
//
// The kernel's loopback is the truth, and the default: use it for what is quick, and for code that
// takes no dialer. Use a [Network] for long limits (timeouts of seconds, backoff, keep-alive), for
// exact times, and inside a bubble, whose clock stands still while real sockets are in use. The
// code under test takes a dial function or a listener, or is tested with an overlay of package net
// ([Network.Intercept]).
//
// # What is modelled
//
// Connects are refused; or dropped, with the kernel's retransmissions of the SYN (at 1, 2, 3, 4, 5,
// 7, 11, 19, 35 and 67 s) and ETIMEDOUT at 131 s; or slow. Accept queues are full or held.
// Connections have finite buffers and the zero window, whole writes, FIN and RST with what they
// leave of the data, half-close, linger, deadlines, partition and heal with retransmission,
// keep-alive and TCP_USER_TIMEOUT. If one end is closed and the other never is, the connection is
// gone after 60 s. UDP has datagrams and ICMP port unreachable. Errors have package net's types,
// operations and addresses, and Linux's errnos, on every platform.
//
// A network is one machine until you ask for others: [Network.Host] makes one with a name,
// addresses and a loopback of its own. Between any two machines, in each direction, and for the
// whole network you can set latency, jitter, bandwidth, loss, the largest packet, reordering of
// datagrams, hold, partition, and a middlebox that forgets idle connections ([Link]). Each can
// change while it is in use, and is undone by the function that it returns.
//
// Chance is drawn from a seed, so each run is the same ([Seed]). Each connection and each UDP
// socket has draws of its own, in each direction and for each kind of fault. They depend neither on
// other faults nor on the order in which goroutines run. Connections are told apart by the host
// that dials, the address that it dials and how often it has dialled that before; UDP sockets by
// their own address. If several goroutines of one host dial one address at one instant, it is not
// certain which gets the first connection and which the second, but each connection has the same
// draws in every run. Give each goroutine a [Host] of its own where that matters. Connections that
// share a bandwidth share it in the order in which they send.
//
// # What is not
//
// There is no congestion control (what is lost is sent again, and the rest at full speed), no
// Nagle, no urgent data, and no queue that overflows except a UDP socket's own; TIME-WAIT holds no
// port. An acknowledgement takes no time of its own and is lost only in a partition, so a send
// buffer has room again half a round trip early. Under [Network.Hold] no data is retransmitted.
//
// Some answers differ from Linux's, each for a reason:
//
//   - How much a write takes before it blocks: Linux's windows grow as data arrives, and here they
//     have their full size from the start. With default buffers the sum differs by 1%. After
//     SetWriteBuffer on one end alone, Linux takes 110 KiB to 2 MiB, and here it is about 1.3 MiB
//     more. SetReadBuffer on one end alone takes effect here, and hardly on Linux. Set both, or
//     begin with a small window.
//   - Nothing can be bound to a multicast address, since there are no groups. A machine has no
//     address but those of loopback until there is another [Host], so that a UDP dial to multicast
//     or broadcast is ENETUNREACH, as on a machine without an interface.
//   - The names of localhost are localhost alone: no file is read.
//   - A raw write to a connection that was reset is EPIPE at once; Linux has ECONNRESET before it.
//     One to a connection that takes less is taken whole, up to what a socket pair holds, since a
//     descriptor cannot be told how much room there is.
//
// There are no file descriptors but the one that [Conn.SyscallConn] lends. So listeners and UDP
// sockets have no SyscallConn, nothing has File, and what [net.ListenConfig.Control] and
// [net.Dialer.Control] set has no place to go. A connection is a [*Conn], not a *net.TCPConn, whose
// fields nobody else can fill: [Network.Intercept] says how to have that too. There are no unix
// sockets, and no routers between machines.
//
// An endless stream without latency takes no time: in a bubble the clock stands still meanwhile,
// and no timeout fires. Give the path a [Network.Latency]. When the function of a bubble returns,
// its time stops, and what is on its way never arrives.
//
// # How it waits
//
// A call that waits is durably blocked, so the clock of a bubble goes on. A network has no
// goroutine of its own, except while a name with two addresses is dialled: one for each. A Network
// may be made outside a bubble and used inside, and outside again. While connections of one bubble
// are open, it must be used neither in another bubble nor outside: it goes by one clock at a time,
// and with two the runtime ends the process.
package simnet

// # How it is built
//
// One lock, the network's, guards everything; unless a comment says otherwise, the caller of an
// unexported function holds it. Read the files in this order. Each rests on those before it; a test
// counts the references to a later file.
//
// What everything rests on:
//
//   - agenda.go: what happens when, in a fixed order, behind one timer; deadlines
//   - buffer.go: a queue of bytes in chunks that are used again
//   - errors.go: errors as package net makes them
//   - random.go: the seed, and who has draws of their own
//
// The machines, and the paths between them (delivery):
//
//   - network.go: a Network, which is all hosts, paths and sockets
//   - host.go: a Host, with its name, addresses and free ports
//   - address.go: from a name or an address to those to dial or to bind
//   - path.go: what latency, loss and the like do to what is sent from one host to another
//
// A connection (protocol); life.go has a table of its states:
//
//   - socket.go: what TCP and UDP sockets have in common
//   - conn.go: all that one end of a connection knows
//   - keepalive.go: when it asks whether the other end is there
//   - resend.go: when it sends again, and when it gives up
//   - flight.go: what it has sent and the path still carries
//   - segment.go: what data, FIN and RST do when they arrive
//   - life.go: how it closes, is reset, is forgotten on its way, and ends
//   - stream.go: Read and Write
//   - options.go: the options of a *net.TCPConn
//   - raw.go: the descriptor that SyscallConn lends
//
// How a connection begins, and what can be done to it:
//
//   - port.go: a bound address and its accept queue
//   - dial.go: a connect, from its first SYN
//   - faults.go: Link, and the partition of one connection
//   - listen.go: a port as fixtures and as servers use it
//   - packet.go: UDP
//   - udp.go: the methods of a *net.UDPConn
//   - info.go: what reports and leak tests ask
//   - stack.go: the methods of network.Stack
//   - intercept.go: what package net has in its place, with an overlay
