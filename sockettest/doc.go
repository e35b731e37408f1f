// Package sockettest is the face for tests: start an address that misbehaves, say how and when the code under test is to
// end there, and prove that it left nothing behind.
//
//	func TestConnectTimeout(t *testing.T) {
//		sockettest.NoLeaks(t)
//		ep := sockettest.Start(t, fixtures.BlackHole{})
//		client := db.Client{Addr: ep.Addr(), ConnectTimeout: 200 * time.Millisecond}
//
//		sockettest.Expect(t, ep, sockettest.TimedOut.After(200*time.Millisecond), client.Ping)
//	}
//
// There are three verbs. [Start] runs a fixture until the test ends. [Expect] runs an operation and judges its outcome
// and its time. [NoLeaks] fails a test that leaves goroutines or connections. Early is judged exactly. Late is
// judged with some slack, and against a timer that runs beside the operation: a slow machine is not held against it.
package sockettest
