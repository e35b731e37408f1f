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
// and its time. [NoLeaks] fails a test that leaves goroutines or connections. Times are never early, and late only by
// what the operation lost beyond a reference timer that ran beside it, so that a busy machine fails no correct client. In a
// [Bubble], on a network of package simnet, they are exact.
package sockettest
