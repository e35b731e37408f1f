// Package simnet is a network in memory that answers as Linux's TCP does: in virtual time inside a testing/synctest
// bubble, where an hour takes microseconds, and in real time outside one.
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
// The kernel's loopback is the truth, and the default: use it for what is quick, and for code that takes no dialer. Use
// a [Network] for what takes long (timeouts of seconds, backoff, keep-alive), for exact times, and inside a bubble, in
// which real sockets make the clock stand still. The code under test must take a dial function or a listener.
//
// # What is modelled
//
// Connect: refused, dropped with the kernel's retransmissions of the SYN (at 1, 2, 3, 4, 5, 7, 11,
// 19, 35 and 67 s) and ETIMEDOUT at 131 s, handshakes that take their time, accept queues that are
// full or held. Connections: finite buffers and the zero window, whole writes, FIN and RST with
// what they leave of the data, half-close, linger, deadlines, partition and heal with
// retransmission, keep-alive and TCP_USER_TIMEOUT; an end that is closed, and whose other end never
// is, is gone after 60 s. UDP: datagrams, and ICMP port unreachable. Errors have package net's
// types, operations and addresses, and Linux's errnos, on every platform.
//
// A network is one machine until it is asked for others: [Network.Host] makes one with a name,
// addresses and a loopback of its own. Between each two of them, in each direction, and for the
// whole network there are latency, jitter, bandwidth, loss, reordering of datagrams, hold and
// partition ([Link]). Each can be changed while it is in use, and is undone by the function that it
// returns. Where chance has a part, it is drawn from a seed, the same in each run ([Seed]). Each
// connection and each UDP socket has draws of its own, in each direction and for each kind of
// fault: they depend neither on other faults nor on the order in which goroutines run that do
// something at one instant. Connections are told apart by the host that dials, the address that it
// dials and how often it has dialled that before; UDP sockets by their own address. So, of several
// goroutines that dial one address at one instant from one host, it is not certain which has the
// first connection and which the second; each of these has the same draws in every run. Give each a
// [Host] of its own where that matters. What connections share, a bandwidth, they share in the
// order in which they come.
//
// # What is not
//
// There is no congestion control (what is lost is sent again, and the rest at full speed), no
// Nagle, no urgent data, no queue that overflows but a UDP socket's own; TIME-WAIT holds no port.
// An acknowledgement takes no time of its own and is lost only in a partition, so that a send
// buffer has room again half a round trip early. Under [Network.Hold] no data is retransmitted. How
// many bytes a write takes before it blocks is near the kernel's, and not the same. There are no
// file descriptors, so no SyscallConn and no File; a connection is a [*Conn] and no *net.TCPConn.
// There are no unix sockets, and no routers between machines.
//
// # How it waits
//
// Calls wait on a sync.Cond, timers are time.AfterFunc's, and nothing runs in between: it has no goroutine of its own, but while
// a name with two addresses is dialled.
// A Network may be made outside a bubble and used inside, and outside again. While connections of one bubble are open, it
// must be used neither in another nor outside: it goes by one clock at a time, and the runtime ends a process that has it go
// by two.
package simnet
