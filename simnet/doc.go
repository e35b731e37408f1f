// Package simnet is a network in memory that answers as Linux's TCP does: in virtual time inside a testing/synctest
// bubble, where an hour takes microseconds, and in real time outside one.
//
//	func TestReadTimeout(t *testing.T) {
//		sockettest.Bubble(t, func(t *testing.T) {
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
// Connect: refused, dropped with the kernel's retransmissions of the SYN (at 1, 2, 3, 4, 5, 7, 11, 19, 35 and 67 s) and
// ETIMEDOUT at 131 s, handshakes that take their time, accept queues that are full or held. Connections: finite buffers
// and the zero window, whole writes, FIN and RST with what they leave of the data, half-close, linger, deadlines,
// partition and heal with retransmission, keep-alive and TCP_USER_TIMEOUT. Errors have package net's types, operations and
// addresses, and Linux's errnos, on every platform.
//
// # What is not
//
// There are no segments: no loss in the middle of a stream, no congestion control, no Nagle, no urgent data; TIME-WAIT
// holds no port. How many bytes a write takes before it blocks is near the kernel's, and not the same. There are no file
// descriptors, so no SyscallConn and no File; a connection is a [*Conn] and no *net.TCPConn. UDP and unix sockets are
// not there yet.
//
// # How it waits
//
// Calls wait on a sync.Cond, timers are time.AfterFunc's, and nothing runs in between: it has no goroutine of its own.
// A Network may be made outside a bubble and used inside. While connections and timers of one bubble are alive, it must
// not be used in another.
package simnet
