package sockettest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/proxyfault"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const never = "the fault never fired"

const ample = 20 * time.Second

var fine = sockettest.Accepted.Before(ample)

// shortly dials, and gives up soon.
func shortly(t *testing.T, nw network.Stack, addr string) {
	dial := nw.DialContext
	if nw == sockettest.Kernel {
		dial = kernelDial
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = visit(dial, "tcp", addr)(ctx)
}

// TestFaultThatNobodyMetSince: a fault that each connect meets has not come for a client that has
// its connection from before, and has once another connect comes. Where the kernel refuses connects
// it may be a neighbour's that is seen.
func TestFaultThatNobodyMetSince(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		for _, f := range []fixtures.Fixture{fixtures.Refused{}, fixtures.NeverAccept{}, fixtures.SlowAccept{Delay: time.Hour}, fixtures.SlowHandshake{Delay: time.Hour}} {
			for _, again := range []bool{false, true} {
				text := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
					c, err := ep.DialContext(t.Context(), "", "")
					require.NoError(t, err)
					defer c.Close()
					require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
					require.NoError(t, ep.Become(f))
					sockettest.Expect(tb, ep, sockettest.Accepted.Before(time.Minute), func() error {
						if again {
							shortly(t, nw, ep.Addr())
						}
						_, err := c.Write([]byte("x"))
						return err
					})
				}).Text()
				if f == (fixtures.Refused{}) && nw == sockettest.Kernel && !again {
					continue // see TestRefusalThatNobodyMet
				}
				assert.Equal(t, !again, strings.Contains(text, "the fault never fired"), "%T: %s", f, text)
			}
		}
	})
}

// TestMissedRulesAreNamed: the report of a fault that never fired names the rules that were to act.
func TestMissedRulesAreNamed(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	text := faketb.Run(t, func(tb *faketb.TB) {
		ep := sockettest.Start(tb, fixtures.Echo{}, sockettest.On(nw))
		ep.Arm(fixtures.Rule{Match: "COMMIT", Do: fixtures.SendRST()})
		rollback := fixtures.Rule{Match: "ROLLBACK", Do: fixtures.SendFIN()}
		ep.Arm(rollback)()
		ep.Arm(rollback)
		ep.Arm(fixtures.Rule{AfterRead: 1})
		sockettest.Expect(tb, ep, fine, func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "", "")
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = io.WriteString(c, "x")
			return errors.Join(err, ep.Await(ctx, fixtures.RuleFired, 1))
		})
		assert.Len(t, ep.Missed(), 2)
	}).Text()
	assert.Contains(t, text, never)
	assert.Contains(t, text, "\n  missed   SendRST() at Match \"COMMIT\"\n  missed   SendFIN() at Match \"ROLLBACK\"\n")
}

// TestFaultThatNeverFired: a client that stops before the point of the fault proves nothing, and
// one that gets there does.
func TestFaultThatNeverFired(t *testing.T) {
	t.Parallel()
	hello := func(c net.Conn) { _, _ = io.WriteString(c, "hello"); _, _ = io.Copy(io.Discard, c) }
	request := func(c net.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, _ = c.Read(make([]byte, 1))
	}
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		before  func(net.Conn) // stops before the point; nil connects and closes
		there   func(net.Conn) // reaches it
	}{
		{"Reset", fixtures.Reset{AfterRead: 5}, nil, hello},
		{"Close", fixtures.Close{AfterWritten: 5}, nil, hello},
		{"Truncate", fixtures.Truncate{AfterWritten: 5}, nil, hello},
		{"HalfClose", fixtures.HalfClose{AfterFIN: true}, func(c net.Conn) {
			_ = c.(interface{ SetLinger(int) error }).SetLinger(0) // RST instead of FIN
		}, func(c net.Conn) {
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}},
		{"in a Sequence", fixtures.Sequence{fixtures.Reset{}, fixtures.Echo{}}, nil, hello},
		{"inside", fixtures.Reset{AfterRead: 100, Then: fixtures.Reset{}}, nil, hello},
		{"over TLS", tlsfault.OverTLS{Then: fixtures.Reset{}}, func(c net.Conn) {
			_ = tls.Client(c, tlsfault.ClientConfig()).Handshake()
		}, func(c net.Conn) { hello(tls.Client(c, tlsfault.ClientConfig())) }},
		{"request", httpfault.Close{At: httpfault.MidBody}, nil, request},
		{"second request", httpfault.CloseOnReuse{}, request, func(c net.Conn) { request(c); request(c); _, _ = io.Copy(io.Discard, c) }},
		{"handshake", tlsfault.Reset{}, nil, func(c net.Conn) { _ = tls.Client(c, tlsfault.ClientConfig()).Handshake() }},
		{"proxy", proxyfault.Refuse{At: proxyfault.Reply}, nil, func(c net.Conn) {
			_, _ = io.WriteString(c, "CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				attempt := func(want sockettest.Want, do func(net.Conn)) string {
					return faketb.Run(t, func(tb *faketb.TB) {
						ep := sockettest.Start(tb, tt.fixture, sockettest.On(nw))
						sockettest.Expect(tb, ep, want, func(ctx context.Context) error {
							c, err := ep.DialContext(ctx, "tcp", "")
							if err == nil && do != nil {
								do(c)
							}
							if err == nil {
								err = c.Close()
							}
							if err == nil {
								err = ep.Await(ctx, fixtures.ConnAccepted, 1)
							}
							return awaitServed(ctx, ep, err)
						})
					}).Text()
				}
				assert.Contains(t, attempt(fine, tt.before), never)
				assert.Empty(t, attempt(fine, tt.there))
				assert.Empty(t, attempt(fine.Unfired(), tt.before))
				assert.Contains(t, attempt(fine.Unfired(), tt.there), "the fault fired")
			})
		})
	}
}

// awaitServed waits until the fixture is done with each connection: a fault that is to come has by
// then.
func awaitServed(ctx context.Context, ep *fixtures.Endpoint, err error) error {
	if err != nil {
		return err
	}
	return ep.Await(ctx, fixtures.Ended, len(ep.Conns()))
}

// TestFaultFiresAfterItsClientLeft: the fixture may take up last what the client did last.
func TestFaultFiresAfterItsClientLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fixture fixtures.Fixture
		data    string
	}{{fixtures.Silent{}, ""}, {fixtures.Reset{}, "x"}, {fixtures.Reset{AfterRead: 2}, "x"}} {
		fires := tt.fixture != fixtures.Reset{AfterRead: 2}
		sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
			if nw == sockettest.Kernel {
				manytests.NeedsPlainTCP(t) // a client of MPTCP that leaves may take its connection along
			}
			attempt := func(want sockettest.Window) string {
				return faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, tt.fixture, sockettest.On(nw))
					sockettest.Expect(tb, ep, want, func(ctx context.Context) error {
						c, err := ep.DialContext(ctx, "tcp", "")
						if err != nil {
							return err
						}
						_, err = io.WriteString(c, tt.data)
						return errors.Join(err, c.Close())
					})
				}).Text()
			}
			for range 20 {
				if !fires {
					assert.Empty(t, attempt(fine.Unfired()))
					continue
				}
				assert.Empty(t, attempt(fine))
				assert.Contains(t, attempt(fine.Unfired()), "the fault fired")
			}
		})
	}
}

// TestRefusalThatNobodyMet: what the kernel refuses it only counts, for all addresses together. So
// a success beside a fixture that nobody has met fails, unless a neighbour was refused just then.
func TestRefusalThatNobodyMet(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	const enough = 1000 // moments, of which one is quiet
	visits := func(tb *faketb.TB, ep sockettest.Running, dial dialFunc, meet bool) {
		sockettest.Expect(tb, ep, fine, func(ctx context.Context) error {
			if !meet {
				return nil
			}
			if c, err := dial(ctx, "", ""); err == nil {
				_, _ = io.WriteString(c, "x")
				_ = c.Close()
			}
			return nil
		})
	}
	stream := func(f fixtures.Fixture) func(*faketb.TB, bool) {
		return func(tb *faketb.TB, meet bool) { ep := sockettest.Start(tb, f); visits(tb, ep, ep.DialContext, meet) }
	}
	for name, run := range map[string]func(tb *faketb.TB, meet bool){
		"Refused": stream(fixtures.Refused{}), "BoundOnly": stream(fixtures.BoundOnly{}),
		"udp.Refused": func(tb *faketb.TB, meet bool) {
			ep := sockettest.Start(tb, udp.Refused{})
			visits(tb, ep, ep.DialContext, meet)
		},
	} {
		judge := func(meet bool) string { return faketb.Run(t, func(tb *faketb.TB) { run(tb, meet) }).Text() }
		assert.Empty(t, judge(true), name)
		said := ""
		for i := 0; i < enough && said == ""; i++ {
			said = judge(false)
		}
		assert.Contains(t, said, never, name)
	}
}

// TestUnfiredTooLate: of a fault that has come for an earlier client nobody can say that it does
// not come, nor of a fixture that has none. That is not the operation's fault.
func TestUnfiredTooLate(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		for _, f := range []fixtures.Fixture{fixtures.BlackHole{}, fixtures.Silent{}, fixtures.Echo{}} {
			text := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, f, sockettest.On(nw))
				shortly(t, nw, ep.Addr())
				if f == (fixtures.Silent{}) {
					require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
				}
				require.NoError(t, ep.Become(fixtures.Echo{}))
				sockettest.Expect(tb, ep, fine.Unfired(), func(ctx context.Context) error {
					c, err := ep.DialContext(ctx, "", "")
					if err == nil {
						err = c.Close()
					}
					return err
				})
			}).Text()
			assert.Contains(t, text, "before the operation the fault had fired, or the fixture has none")
			assert.NotContains(t, text, "the fault fired")
		}
	})
}

func TestDatagramFaultThatNeverFired(t *testing.T) {
	t.Parallel()
	for _, f := range []udp.Fixture{udp.Drop{Nth: 2}, udp.Duplicate{Nth: 2}} {
		for sent, want := range map[int]string{1: never, 2: ""} {
			t.Run(fmt.Sprintf("%T %d", f, sent), func(t *testing.T) {
				t.Parallel()
				tb := faketb.Run(t, func(tb *faketb.TB) {
					ep := sockettest.Start(tb, f, apart)
					sockettest.Expect(tb, ep, fine, func(ctx context.Context) error {
						c, err := ep.DialContext(ctx, "udp", "")
						if err != nil {
							return err
						}
						defer c.Close()
						for range sent {
							_, _ = io.WriteString(c, "hello")
						}
						return ep.Await(ctx, fixtures.Received, sent)
					})
				})
				if want == "" {
					assert.Empty(t, tb.Text())
				} else {
					assert.Contains(t, tb.Text(), want)
				}
			})
		}
	}
}

// TestDualWhoseFaultNeverFired: a failover from an address that nobody tried is none.
func TestDualWhoseFaultNeverFired(t *testing.T) {
	t.Parallel()
	for family, want := range map[string]string{"tcp4": never, "tcp": ""} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Run(t, func(tb *faketb.TB) {
				d := sockettest.Start(tb, fixtures.Dual{IPv6: fixtures.BlackHole{}}, sockettest.On(simnet.New(t)))
				sockettest.Expect(tb, d, fine, func(ctx context.Context) error {
					c, err := d.DialFunc(0)(ctx, family, d.HostPort())
					if err != nil {
						return err
					}
					return c.Close()
				})
			})
			if want == "" {
				assert.Empty(t, tb.Text())
			} else {
				assert.Contains(t, tb.Text(), want)
			}
		})
	}
}

// TestDisarmedFaultsOfWhatRuns: what a test does to a running fixture does nothing either.
func TestDisarmedFaultsOfWhatRuns(t *testing.T) {
	if !disarmed(t) {
		return
	}
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		if n, ok := nw.(*simnet.Network); ok {
			defer n.Loss(1)()
			defer n.Latency(time.Hour)()
			defer n.Partition()()
			defer n.Hold()()
		}
		defer ep.Partition()()
		defer ep.Hold()()
		c, err := ep.DialContext(t.Context(), "tcp", "")
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		defer ep.Conns()[0].Partition()()
		defer ep.Conns()[0].Hold()()
		require.NoError(t, ep.Conns()[0].Reset())
		require.NoError(t, ep.Become(fixtures.BlackHole{}))
		require.NoError(t, ep.Await(t.Context(), fixtures.SYN, 1), "nobody may wait for what does not come")
		require.NoError(t, exchange(c))
		require.NoError(t, ep.Become(fixtures.Reset{Then: httpfault.OK{}}))
		require.NoError(t, get(t, ep), "a stand-in that speaks another protocol takes over")
		require.NoError(t, ep.Become(fixtures.Refused{}))
		require.NoError(t, get(t, ep), "and stays")
	})
}

// A fault that never fired is found at what an Expect was given: also at a part of what Start has
// begun, and at what it has not.
func TestFaultThatNeverFiredElsewhere(t *testing.T) {
	t.Parallel()
	fault := fixtures.Reset{AfterRead: 5}
	connects := func(tb *faketb.TB, ep *fixtures.Endpoint, fires bool) {
		sockettest.Expect(tb, ep, fine, func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "tcp", "")
			if err == nil && fires {
				_, _ = io.WriteString(c, "hello")
				_, _ = io.Copy(io.Discard, c)
			}
			return errors.Join(err, c.Close())
		})
	}
	for name, expect := range map[string]func(tb *faketb.TB, nw network.Stack, fires bool){
		"part": func(tb *faketb.TB, nw network.Stack, fires bool) {
			connects(tb, sockettest.Start(tb, fixtures.Dual{IPv4: fault}, sockettest.On(nw)).IPv4, fires)
		},
		"not begun": func(tb *faketb.TB, nw network.Stack, fires bool) {
			ep, err := fixtures.Start(tb.Context(), fault, fixtures.Place{Stack: nw})
			require.NoError(tb, err)
			tb.Cleanup(func() { _ = ep.Close() })
			connects(tb, ep, fires)
		},
		"listener": accepts,
	} {
		sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
			if name == "part" && nw == sockettest.Kernel {
				manytests.NeedsIPv6(t)
			}
			for _, fires := range []bool{false, true} {
				text := faketb.Run(t, func(tb *faketb.TB) { expect(tb, nw, fires) }).Text()
				assert.Equal(t, !fires, strings.Contains(text, never), "%s: %s", name, text)
			}
		})
	}
}

// accepts is an accept loop that gets as far as its fault if that fires.
func accepts(tb *faketb.TB, nw network.Stack, fires bool) {
	ln, err := nw.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	l := fixtures.AcceptError{EachNth: 2}.Listen(ln)
	tb.Cleanup(func() { _ = l.Close() })
	sockettest.Expect(tb, l, fine, func(ctx context.Context) error {
		c, err := nw.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := l.Accept()
		if err == nil && fires {
			_, _ = l.Accept()
		}
		return errors.Join(err, got.Close())
	})
}

func TestDisarmedDialerAndListeners(t *testing.T) {
	if !disarmed(t) {
		return
	}
	ep := sockettest.Start(t, fixtures.Echo{})
	c, err := sockettest.Dialer(t, fixtures.Refused{}).DialContext(t.Context(), "tcp", ep.Addr())
	require.NoError(t, err)
	require.NoError(t, exchange(c))
	require.NoError(t, c.Close())
	ln, err := sockettest.ListenConfig(t, syscall.EADDRINUSE).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := fixtures.AcceptError{EachNth: 1}.Listen(ln)
	assert.True(t, l.Disarmed())
	c, err = new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	got, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, got.Close())
	require.NoError(t, l.Close())
	assert.False(t, l.Fired())
}

func TestDisarmedNameServerBecomes(t *testing.T) {
	if !disarmed(t) {
		return
	}
	ep := sockettest.Start(t, dnsfault.Zone{"db.example": {"127.0.0.2"}})
	require.NoError(t, ep.Become(dnsfault.ServFail{}))
	ips, err := ep.Resolver().LookupIP(t.Context(), "ip4", "db.example.")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.2", ips[0].String(), "it goes on as before")
}

// TestDisarmedAttack: an honest client is not dropped for what an attacker is, and a server that
// drops everybody is found out.
func TestDisarmedAttack(t *testing.T) {
	if !disarmed(t) {
		return
	}
	for name, rude := range map[string]bool{"serves": false, "drops everybody": true} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			srv := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: ample}
			var wg sync.WaitGroup
			wg.Go(func() {
				if !rude {
					_ = srv.Serve(ln)
				}
				for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
					_ = c.Close()
				}
			})
			t.Cleanup(func() { _, _ = srv.Close(), ln.Close(); wg.Wait() })
			tb := faketb.Run(t, func(tb *faketb.TB) {
				a := sockettest.Start(tb, hostile.Slowloris{Target: ln.Addr().String()})
				sockettest.ExpectEnd(tb, a, sockettest.Disconnected.Before(ample))
			})
			if rude {
				assert.Contains(t, tb.Text(), "met without the fault")
				return
			}
			assert.Empty(t, tb.Text())
			assert.Contains(t, tb.Reason(), "without the fault it is not disconnected")
		})
	}
}

// TestDisarmedOffTheTestGoroutine: a goroutine of the test's own goes on.
func TestDisarmedOffTheTestGoroutine(t *testing.T) {
	if !disarmed(t) {
		return
	}
	var goesOn, skipped bool
	t.Run("goroutine", func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Refused{})
		var wg sync.WaitGroup
		wg.Go(func() {
			sockettest.Expect(t, ep, sockettest.Rejected.Before(ample), func() error { return nil })
			goesOn = true
		})
		wg.Wait()
		skipped = t.Skipped()
	})
	assert.True(t, goesOn)
	assert.False(t, skipped)
}

// TestOuterTOfADisarmedSubtest: a test inside is ended by its own t. That of the test around it
// cannot end it, and says so.
func TestOuterTOfADisarmedSubtest(t *testing.T) {
	wait := manytests.Start(t, "SOCKETTEST_DISARM=1", "-test.run=^TestWithOuterT$", "-test.v")
	t.Parallel()
	out, err := wait()
	require.Error(t, err, "%s", out)
	for name, ends := range map[string]string{
		"": "FAIL", "/own": "SKIP", "/outer": "PASS", "/outer_in_parallel": "PASS", "/awaits": "PASS",
	} {
		assert.Contains(t, out, "--- "+ends+": TestWithOuterT"+name+" (", "%s", out)
	}
	assert.Equal(t, 3, strings.Count(out, "bad argument: t is TestWithOuterT's, on the goroutine of another test"), "%s", out)
	assert.Equal(t, 2, strings.Count(out, "\n          disarmed: without the fault it is not rejected"), "%s", out)
	assert.NotContains(t, out, "parent test", "the words of package testing")
}

func TestWithOuterT(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T) {
		t.Helper()
		ep := sockettest.Start(t, fixtures.Refused{})
		sockettest.Expect(t, ep, sockettest.Rejected.Before(ample), func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "tcp", "")
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	t.Run("own", refused)
	t.Run("outer", func(*testing.T) { refused(t) })
	t.Run("outer in parallel", func(inner *testing.T) { inner.Parallel(); refused(t) })
	ep := sockettest.Start(t, fixtures.Reset{OnAccept: true})
	t.Run("awaits", func(*testing.T) {
		if ep.Disarmed() {
			_ = ep.Await(t.Context(), fixtures.PeerBlocked, 1)
		}
	})
}

func TestDisarmedPlanInACircle(t *testing.T) {
	if !disarmed(t) {
		return
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Start(tb, circle{}) })
	assert.Contains(t, tb.Text(), "Plan.Instead leads in a circle; want a fixture whose Plan has Behaves at its end")
}

// circle stands in for itself.
type circle struct{}

func (circle) Plan() (fixtures.Plan, error) {
	p, err := fixtures.Silent{}.Plan()
	p.Instead = circle{}
	return p, err
}

func TestDisarmBadValue(t *testing.T) {
	t.Setenv("SOCKETTEST_DISARM", "please")
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Echo{}) })
	assert.Contains(t, tb.Text(), `environment variable SOCKETTEST_DISARM is "please"; want 1, or 0 or nothing`)
}

func TestArmedWithoutReason(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.Armed(tb, "") })
	assert.Contains(t, tb.Text(), "reason is empty; want why the test is of no use without its fault")
	tb = faketb.Run(t, func(tb *faketb.TB) { sockettest.Armed(tb, "reason") })
	assert.Empty(t, tb.Text()+tb.Reason(), "an armed run runs it")
}

// TestMainListsWhatIsNotDisarmed reads what Main lists of the tests below in the disarmed run.
func TestMainListsWhatIsNotDisarmed(t *testing.T) {
	out, err := disarmedRun.Output(t)
	require.NoError(t, err, "%s", out)
	assert.Contains(t, out, "\ndisarmed: left as it is, since its Plan has no Instead: TestListedFixture: sockettest_test.own{}\n")
	assert.Contains(t, out, "\ndisarmed: not run: TestListedExemption: a reason\n")
}

func TestListedFixture(t *testing.T) { t.Parallel(); sockettest.Start(t, own{}) }

func TestListedExemption(t *testing.T) { t.Parallel(); sockettest.Armed(t, "a reason") }

// TestMainListsSkippedFixtures runs this binary's tests below, and reads what Main lists.
func TestMainListsSkippedFixtures(t *testing.T) {
	wait := manytests.Start(t, "SOCKETTEST_DISARM=0", "-test.run=^TestSkipped(Fixture|Fault)$")
	t.Parallel()
	out, err := wait()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, out, "\nskipped: sockettest_test.absent{}: plan9: not here: unsupported operation: "+
		"TestSkippedFixture/0, TestSkippedFixture/1, TestSkippedFixture/2 and 1 more\n")
	assert.Contains(t, out, ": unsupported operation: TestSkippedFault\n")
	assert.Equal(t, 2, strings.Count(out, "skipped: "), "%s", out)
}

// absent is a fixture that no platform provides.
type absent struct{}

func (absent) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{}, fmt.Errorf("plan9: not here: %w", errors.ErrUnsupported)
}

func TestSkippedFixture(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) { sockettest.Start(t, absent{}) })
	}
}

// TestSkippedFault asks for what unix sockets have not.
func TestSkippedFault(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Echo{}, sockettest.Family("unix"))
	defer ep.Partition()()
	t.Skip("where unix sockets can be cut off")
}
