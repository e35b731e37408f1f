// Package sweep tries every fault at every byte of a conversation, in virtual time, with one call.
//
// [Run] has the code under test talk to its server once, and notes what passes. Then it does so
// again and again, and each time one thing goes wrong: a connect is refused, or never answered;
// the connection is reset at byte 117 of the answer; the server is silent from byte 3 of the
// request on. Each conversation has a testing/synctest bubble and a simnet of its own. A timeout
// of a minute takes no time there, and a thousand points take a fraction of a second.
//
//	func TestFetch(t *testing.T) {
//		cfg := sweep.Config{Server: serve, Limit: 11 * time.Second}
//		sweep.Run(t, cfg, func(ctx context.Context, c *sweep.Case) error {
//			db := &Client{Addr: c.Addr(), Dial: c.DialContext, Timeout: 5 * time.Second}
//			c.Closer(db.Close)
//			got, err := db.Get(ctx, "k")
//			if err == nil {
//				assert.Equal(c, "v", got)
//			}
//			c.Recovers(db.Ping)
//			return err
//		})
//	}
//
// # What is found
//
//   - wrong: the operation told [Case.Errorf]; it returned a wrong value without an error, say.
//   - repeated: the server got a request of [Config.Once] twice.
//   - crashes: it ended its process, with -sweep.isolate. Else that ends the sweep.
//   - panics: the operation panicked.
//   - hangs: the operation, Close or Recovers had not returned after five times the limit.
//   - floods: the operation dialled 300 times, and ten times as often as without a fault.
//   - fails: it returned an error at a fault that is [Fault.Harmless].
//   - late: it took longer than the limit.
//   - does not recover: the function given to [Case.Recovers] still failed a limit later, or Config.Server
//     has returned.
//   - leaks: connections that the client has not closed after [Config.Grace], or goroutines that are
//     left when all is closed.
//   - kept: the server still has the connection, [Config.ServerLimit] later.
//
// A goroutine that waits for a mutex whose owner waits for the network stops the clock of a bubble.
// Such a point is judged in real time.
//
// Any other error is no violation: a client may fail when its connection breaks. Where it must not,
// tell [Case.Errorf] if there is one.
//
// # What is not
//
// A conversation should be the same each time, in the number of its connections and bytes: if not,
// the report says so, and a point may be another one each time. The operation must use
// [Case.DialContext]: real sockets stand outside of virtual time. A panic of another goroutine than
// the operation's ends the process, as in any test.
//
// docs/sweep.md says how to read a report, and what a sweep cannot find.
package sweep
