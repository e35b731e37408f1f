// Package sockettest tests code against sockets that misbehave. Start runs a fixture, Expect checks
// how and when an operation ends, NoLeaks checks that nothing is left.
//
//	func TestConnectTimeout(t *testing.T) {
//		sockettest.NoLeaks(t)
//		ep := sockettest.Start(t, fixtures.BlackHole{})
//		client := db.Client{Addr: ep.Addr(), ConnectTimeout: 200 * time.Millisecond}
//
//		sockettest.Expect(t, ep, sockettest.TimedOut.After(200*time.Millisecond), client.Ping)
//	}
//
// # Verbs
//
//   - [Start] runs a fixture of any kind until the test ends: an address or a server (package
//     fixtures), datagrams (udp), a name server (dnsfault), a client that attacks yours (hostile).
//   - [Expect] runs an operation of a client, and checks its outcome and its time.
//   - [Reserve] returns an address for a server under test, and keeps everybody else from its port.
//   - [ExpectEnd] checks how and when a server ended the connections of a hostile client.
//   - [NoLeaks] fails a test that leaves goroutines or connections, [NoLeakedSockets] one that
//     leaves any socket, and [Main] a package whose tests do.
//   - [OnlyLoopback] fails a test that dials or looks up anything beyond this machine.
//   - [Bubble] runs a test in virtual time, and [EachNetwork] on the kernel and in virtual time.
//   - [Dialer] and [ListenConfig] are for code that takes nothing else, and [Try] for programs that
//     are no tests.
//
// # What a test wants
//
// A [Want] is an [Outcome], at any time, or a [Window], which adds a time, a phase and more:
//
//	sockettest.Rejected                               // at any time
//	sockettest.Rejected.AtOnce()                      // within the slack, 250 ms by default
//	sockettest.TimedOut.In("read").After(time.Second) // no earlier, and no later than the slack allows
//	sockettest.Blocked.For(time.Second)               // still waiting after a second
//	sockettest.ErrorIs(db.ErrUnavailable)             // an error of the client's own
//
// Too early is judged exactly. Too late is judged with slack, and against timers that run beside
// the operation, so a slow machine is not held against your code. In virtual time both are exact.
//
// An operation is a func() error or a func(context.Context) error. [Value] makes one of a call that
// returns a value too: sockettest.Value(client.Get).
//
// # What a test proves
//
// A fixture that the operation never reached fails the test, as does a success against a fault that
// never came. With SOCKETTEST_DISARM=1 in its environment, go test runs every fixture without its
// fault: a test that passes all the same proves nothing, and fails. [Armed] exempts one.
package sockettest
