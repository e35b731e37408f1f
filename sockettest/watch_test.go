package sockettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/stretchr/testify/suite"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

const oneConnection = "leak: 1 connection left behind"

// needs skips the test of a network that this host does not have.
func needs(t *testing.T, network string) {
	t.Helper()
	if network == "tcp6" {
		manytests.NeedsIPv6(t)
	}
}

// inner runs f with a TB of its own on the calling goroutine, as a subtest or a set-up function
// would.
func inner(t testing.TB, f func(tb *faketb.TB)) {
	tb := faketb.Here(t, f)
	assert.Empty(t, tb.Text())
}

// Whoever's t a fixture was started with, it counts for the test whose goroutine started it.
func TestNoLeaksCountsForTheGoroutine(t *testing.T) {
	t.Parallel()
	needSockets(t)
	for name, leaks := range map[string]func(tb *faketb.TB) net.Conn{
		"inner t": func(tb *faketb.TB) (leaked net.Conn) {
			inner(tb, func(in *faketb.TB) { leaked = acceptedBy(in, Start(in, fixtures.Echo{})) })
			return leaked
		},
		"outer t": func(*faketb.TB) net.Conn { return acceptedBy(t, Start(t, fixtures.Echo{})) },
		"another goroutine": func(*faketb.TB) (leaked net.Conn) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				leaked = acceptedBy(t, Start(t, fixtures.Echo{}))
			}()
			<-done
			return leaked
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var leaked net.Conn
			tb := leaving(t, func(tb *faketb.TB) { leaked = leaks(tb) })
			assert.Contains(t, tb.Text(), oneConnection)
			assert.NotContains(t, tb.Text(), "goroutine") // the fixture's own, which run still, are no leak
			assert.NoError(t, leaked.Close())
		})
	}
}

// A fixture of somebody else's goroutine counts for the test whose t it has.
func TestNoLeaksCountsForItsT(t *testing.T) {
	t.Parallel()
	needSockets(t)
	work, done := make(chan func()), make(chan struct{})
	go func() {
		for f := range work {
			f()
			done <- struct{}{}
		}
	}()
	defer close(work)
	var leaked net.Conn
	tb := leaving(t, func(tb *faketb.TB) {
		neighbour := leaking(t, func(*faketb.TB) {
			work <- func() { leaked = acceptedBy(tb, Start(tb, fixtures.Echo{})) }
			<-done
		})
		assert.Empty(t, neighbour.Text())
	})
	assert.Contains(t, tb.Text(), oneConnection)
	assert.NoError(t, leaked.Close())
}

func TestNoLeaksCoversBubbles(t *testing.T) {
	t.Parallel()
	var text string
	t.Run("real", func(t *testing.T) { // a bubble needs a T
		tb := leaving(t, func(*faketb.TB) {
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(quiet{t})
				acceptedBy(t, Start(t, fixtures.Echo{}, On(nw)))
			})
		})
		text = tb.Text()
	})
	assert.Contains(t, text, oneConnection)
}

// quiet keeps simnet from failing a test that leaves connections open, and its cleanup from closing
// them.
type quiet struct{ *testing.T }

func (quiet) Failed() bool { return false }

type leakySuite struct {
	suite.Suite
	setUpSuite, setUpTest, run func(t testing.TB)
}

func (s *leakySuite) SetupSuite() { s.setUpSuite(s.T()) }
func (s *leakySuite) SetupTest()  { s.setUpTest(s.T()) }
func (s *leakySuite) TestIt()     { s.run(s.T()) }

// testify's suites run each test, and SetupTest, on a goroutine and with a T of its own.
func TestNoLeaksCoversSuites(t *testing.T) {
	needSockets(t)
	var ep *fixtures.Endpoint
	var leaked net.Conn
	nothing := func(testing.TB) {}
	start := func(t testing.TB) { ep = Start(t, fixtures.Echo{}) }
	leak := func(t testing.TB) { leaked = acceptedBy(t, ep) }
	for name, s := range map[string]*leakySuite{
		"started in SetupSuite": {setUpSuite: start, setUpTest: nothing, run: leak},
		"started in SetupTest":  {setUpSuite: nothing, setUpTest: start, run: leak},
		"started in the test":   {setUpSuite: nothing, setUpTest: nothing, run: func(t testing.TB) { start(t); leak(t) }},
	} {
		w := WatchLeaks()
		t.Run(name, func(t *testing.T) { suite.Run(t, s) })
		l := w.Find(0)
		w.Close()
		assert.Len(t, l.Conns, 1, name)
		assert.NoError(t, leaked.Close())
	}
}

// Where each call makes a new TB, and each part of a test has a goroutine of its own, as in Ginkgo,
// the name counts.
func TestNoLeaksFindsANamesake(t *testing.T) {
	t.Parallel()
	needSockets(t)
	var leaked net.Conn
	quit := make(chan struct{})
	defer close(quit)
	tb := faketb.Run(t, func(tb *faketb.TB) {
		node := func(f func(t testing.TB)) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				f(&specTB{tb})
			}()
			<-done
		}
		node(func(t testing.TB) { noLeaks(t, moment, nil) })
		node(func(t testing.TB) {
			leaked = acceptedBy(t, Start(t, fixtures.Echo{}))
			go waitFor(quit)
		})
	})
	assert.Contains(t, tb.Text(), "leak: 1 goroutine and 1 connection left behind")
	assert.NoError(t, leaked.Close())
}

// A specTB is made again for each call.
type specTB struct{ *faketb.TB }

func (s *specTB) Name() string { return s.TB.Name() + " spec" }

func TestNoLeaksComesFirst(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(tb *faketb.TB){
		"Start":    func(tb *faketb.TB) { Start(tb, fixtures.Echo{}) },
		"StartUDP": func(tb *faketb.TB) { Start(tb, udp.Silent{}) },
	} {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			start(tb)
			NoLeaks(tb)
		})
		assert.True(t, tb.Died(), name)
		assert.Contains(t, tb.Text(), "want NoLeaks called first", name)
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { // two TBs of one test, on one goroutine
		Start(&specTB{tb}, fixtures.Echo{})
		NoLeaks(&specTB{tb})
	})
	assert.Contains(t, tb.Text(), "want NoLeaks called first")
	tb = faketb.Run(t, func(tb *faketb.TB) { // what a suite has started is the suite's
		Start(t, fixtures.Echo{})
		NoLeaks(tb)
	})
	assert.Empty(t, tb.Text())
}

// A TB that no map can have as a key is found by the goroutine's label.
func TestNoLeaksTakesAnyTB(t *testing.T) {
	t.Parallel()
	needSockets(t)
	type unhashable struct {
		*faketb.TB
		_ []int
	}
	var leaked net.Conn
	tb := faketb.Run(t, func(tb *faketb.TB) {
		u := unhashable{TB: tb}
		noLeaks(u, moment, nil)
		leaked = acceptedBy(u, Start(u, fixtures.Echo{}))
	})
	assert.Contains(t, tb.Text(), oneConnection)
	assert.NoError(t, leaked.Close())
}

func TestNoLeaksNoticesLostLabels(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	defer close(quit)
	for name, f := range map[string]func(tb *faketb.TB){
		"no leak": func(tb *faketb.TB) { pprof.Do(tb.Context(), pprof.Labels("a", "b"), func(context.Context) {}) },
		"a leak": func(tb *faketb.TB) {
			pprof.Do(tb.Context(), pprof.Labels("a", "b"), func(context.Context) {})
			go waitFor(quit)
		},
	} {
		tb := leaking(t, f)
		assert.Contains(t, tb.Text(), "labels were replaced meanwhile", name)
	}
	tb := leaving(t, func(tb *faketb.TB) { // the remedies
		done := make(chan struct{})
		go func() {
			defer close(done)
			pprof.Do(tb.Context(), pprof.Labels("a", "b"), func(context.Context) {})
		}()
		<-done
		ep := Start(tb, fixtures.Echo{})
		Expect(tb, ep, Accepted.Before(10*time.Second), func(ctx context.Context) error {
			pprof.Do(ctx, pprof.Labels("a", "b"), func(context.Context) {})
			go waitFor(quit)
			return dialing(ep, 0)(ctx)
		})
	})
	assert.Contains(t, tb.Text(), "leak: 1 goroutine left behind\n")
}

func TestNoLeaksKeepsLabels(t *testing.T) {
	t.Parallel()
	faketb.Run(t, func(tb *faketb.TB) {
		own := func() string {
			var all []string
			pprof.ForLabels(withOwnLabels(tb.Context()), func(k, v string) bool { all = append(all, k+"="+v); return true })
			return strings.Join(all, " ")
		}
		assert.Empty(t, own())
		pprof.SetGoroutineLabels(pprof.WithLabels(tb.Context(), pprof.Labels("mine", "1", "zz", "2")))
		inner(t, func(in *faketb.TB) {
			NoLeaks(in)
			assert.Regexp(t, "^mine=1 "+labelKey+"=.* zz=2$", own())
			inner(t, func(in *faketb.TB) {
				NoLeaks(in)
				assert.Regexp(t, "^mine=1 "+labelKey+"=.* zz=2$", own())
			})
			assert.NotEmpty(t, ownLabel())
		})
		assert.Equal(t, "mine=1 zz=2", own())
	})
}

// Whatever collects garbage, and whenever: what nobody closed is not closed by it.
func TestNoLeaksDespiteCollections(t *testing.T) {
	manytests.Long(t, "its process collects garbage all the time")
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() { // not the watch's own
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	for i := range 10 {
		w := WatchLeaks()
		inner(t, func(in *faketb.TB) {
			ep := Start(in, fixtures.Silent{})
			leakOne(in, ep.Addr())
			assert.NoError(t, ep.Await(in.Context(), fixtures.Received, 1))
			runtime.GC()
		})
		l := w.Find(0)
		w.Close()
		require.Len(t, l.Conns, 1, "run %d", i)
	}
	ran := make(chan struct{})
	finalized(ran)
	<-ran // they go on once nobody watches
}

// A skipped test leaves it to the one around it to find what it has leaked: by then nothing must
// have closed that.
func TestNoLeaksOfASkippedSubtestDespiteCollections(t *testing.T) {
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	tb := leaving(t, func(tb *faketb.TB) {
		faketb.Run(tb, func(in *faketb.TB) {
			NoLeaks(in)
			ep := Start(in, fixtures.Silent{})
			leakOne(in, ep.Addr())
			assert.NoError(t, ep.Await(in.Context(), fixtures.Received, 1))
			in.Skipf("not today")
		})
		time.Sleep(2 * gateLinger) // rules:allow finalizers would run from then on
		for range 3 {
			runtime.GC()
			time.Sleep(moment / 10) // rules:allow one of them would take this long
		}
	})
	assert.Contains(t, tb.Text(), oneConnection)
}

//go:noinline
func leakOne(t testing.TB, addr string) {
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	assert.NoError(t, err)
	_, err = c.Write([]byte("x"))
	assert.NoError(t, err)
}

//go:noinline
func finalized(ran chan struct{}) {
	runtime.SetFinalizer(&struct{ self *byte }{}, func(any) { close(ran) })
}

// A client that never closes is a leak, whoever ended the connection and whatever it had done
// before; on each network.
func TestNoLeaksAfterTheEnd(t *testing.T) {
	if !manytests.Alone(t) { // where it looks a hundred times at few goroutines
		return
	}
	needSockets(t)
	halfClose := func(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite() } // an error if it has ended already
	for name, f := range map[string]fixtures.Fixture{
		"FIN": fixtures.Close{}, "RST": fixtures.Reset{}, "neither": fixtures.Echo{}, "silent": fixtures.Silent{},
	} {
		for how, client := range map[string]func(c net.Conn){
			"waits":        func(net.Conn) {},
			"half-closes":  halfClose,
			"reads an end": func(c net.Conn) { halfClose(c); _, _ = io.Copy(io.Discard, c) },
		} {
			if name == "silent" && how == "reads an end" {
				continue // which does not come
			}
			for _, on := range []string{"tcp4", "tcp6", "unix", "simnet"} {
				if on == "unix" && name == "RST" {
					continue // it has none
				}
				t.Run(name+" "+how+" "+on, func(t *testing.T) {
					needs(t, on)
					checkEnd(t, f, on, client)
				})
			}
		}
	}
}

func checkEnd(t *testing.T, f fixtures.Fixture, on string, client func(c net.Conn)) {
	where := placed(t, on)
	for _, closes := range []bool{false, true} {
		var c net.Conn
		w := WatchLeaks()
		inner(t, func(in *faketb.TB) {
			c = acceptedBy(in, Start(in, f, where))
			_, err := c.Write([]byte("x"))
			assert.NoError(t, err)
			client(c)
			if closes {
				assert.NoError(t, c.Close())
			}
		})
		if !closes {
			assert.Len(t, w.Find(0).Conns, 1)
			_ = c.Close()
		}
		assert.Empty(t, w.Find(settle).String())
		w.Close()
	}
}

// A server that does not close is one, too.
func TestNoLeaksOfAServer(t *testing.T) {
	needSockets(t)
	for _, on := range []string{"tcp4", "simnet"} {
		var where Option = Family(on)
		listen := func() (net.Listener, error) { return (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0") }
		if on == "simnet" {
			nw := simnet.New(t)
			where, listen = On(nw), func() (net.Listener, error) { return nw.Listen(t.Context(), "tcp", "127.0.0.1:0") }
		}
		w := WatchLeaks()
		ln, err := listen()
		require.NoError(t, err)
		var c net.Conn
		inner(t, func(in *faketb.TB) {
			Start(in, hostile.ConnectOnly{Target: ln.Addr().String()}, where)
			c, err = ln.Accept()
			assert.NoError(t, err)
		})
		assert.Len(t, w.Find(0).Conns, 1, on)
		assert.NoError(t, c.Close())
		assert.Empty(t, w.Find(settle).String(), on)
		w.Close()
		assert.NoError(t, ln.Close())
	}
}

// redial closes a connection that the fixture has reset, and connects to addr from the same port.
func redial(t testing.TB, ep *fixtures.Endpoint, addr string) net.Conn {
	for {
		c := acceptedBy(t, ep)
		_, err := c.Write([]byte("x"))
		assert.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		assert.NoError(t, c.Close())
		d := net.Dialer{LocalAddr: c.LocalAddr(), Timeout: 10 * time.Second}
		again, err := d.DialContext(t.Context(), "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue // somebody else has the port by now
		}
		require.NoError(t, err)
		return again
	}
}

// A port is used again, for another connection, which nobody watches and which has ended, too: it
// is not taken for ours.
func TestNoLeaksPortUsedAgain(t *testing.T) {
	needSockets(t)
	other, err := fixtures.Start(t.Context(), fixtures.Reset{}, fixtures.Place{})
	require.NoError(t, err)
	defer other.Close()
	var again net.Conn
	w := WatchLeaks()
	defer w.Close()
	inner(t, func(in *faketb.TB) {
		again = redial(in, Start(in, fixtures.Reset{}), other.Addr())
		_, err = again.Write([]byte("x"))
		assert.NoError(t, err)
		_, err = again.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	})
	assert.Empty(t, w.Find(0).Conns)
	assert.NoError(t, again.Close())
}

// The same address, used again at the same fixture, is that of the later connection.
func TestNoLeaksAddressUsedAgain(t *testing.T) {
	needSockets(t)
	w := WatchLeaks()
	defer w.Close()
	var again net.Conn
	var latest string
	inner(t, func(in *faketb.TB) {
		ep := Start(in, fixtures.Reset{})
		again = redial(in, ep, ep.Addr())
		_, err := again.Write([]byte("x"))
		assert.NoError(t, err)
		_, err = again.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		latest = fmt.Sprintf("#%d ", len(ep.Conns()))
	})
	l := w.Find(0)
	require.Len(t, l.Conns, 1)
	assert.Contains(t, l.Conns[0], latest)
	assert.NoError(t, again.Close())
}

// A client of an earlier fixture at the same path, which it never closed, is none of the later
// one's.
func TestNoLeaksPathUsedAgain(t *testing.T) {
	needSockets(t)
	at := []Option{Family("unix"), Address(filepath.Join(t.TempDir(), "s"))}
	client := func(tb *faketb.TB) net.Conn {
		ep := Start(tb, fixtures.Close{}, at...)
		c := acceptedBy(tb, ep)
		_, err := c.Write([]byte("x"))
		assert.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		assert.NoError(t, c.(*net.UnixConn).CloseWrite())
		assert.NoError(t, ep.Await(tb.Context(), fixtures.Ended, 1)) // so that there is only the path to go by
		return c
	}
	var early net.Conn
	inner(t, func(in *faketb.TB) { early = client(in) })
	w := WatchLeaks()
	defer w.Close()
	inner(t, func(in *faketb.TB) { assert.NoError(t, client(in).Close()) })
	assert.Empty(t, w.Find(0).Conns)
	assert.NoError(t, early.Close())
}

// Many leaks take no longer to report than one.
func TestNoLeaksOfMany(t *testing.T) {
	manytests.Long(t, "it leaks thousands")
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	for _, tt := range []struct {
		on string
		n  int
	}{{"tcp", 400}, {"simnet", 4000}} {
		t.Run(tt.on, func(t *testing.T) {
			t.Parallel()
			var conns []net.Conn
			begin := time.Time{}
			tb := faketb.Run(t, func(tb *faketb.TB) {
				noLeaks(tb, moment, nil)
				where := Family(tt.on)
				if tt.on == "simnet" {
					where = On(simnet.New(t))
				}
				ep := Start(tb, fixtures.Silent{}, where)
				for range tt.n {
					c, err := ep.DialContext(tb.Context(), "", "")
					require.NoError(t, err)
					conns = append(conns, c)
				}
				assert.NoError(t, ep.Await(tb.Context(), fixtures.ConnAccepted, tt.n))
				begin = time.Now()
			})
			t.Logf("%d leaks in %v", tt.n, time.Since(begin))
			assert.Contains(t, tb.Text(), fmt.Sprintf("leak: %d connections left behind", tt.n))
			assert.Contains(t, tb.Text(), fmt.Sprintf("... %d more", tt.n-leaksShown))
			for _, c := range conns {
				assert.NoError(t, c.Close())
			}
		})
	}
}

func TestWatchLeaksWithoutATest(t *testing.T) {
	t.Parallel()
	needSockets(t)
	var l, after Leaks
	faketb.Run(t, func(*faketb.TB) { // a goroutine of its own
		w := WatchLeaks()
		defer w.Close()
		ep, err := fixtures.Start(t.Context(), fixtures.Echo{}, fixtures.Place{})
		assert.NoError(t, err)
		defer ep.Close()
		c := acceptedBy(t, ep)
		_, err = c.Write([]byte("x"))
		assert.NoError(t, err)
		_, err = c.Read(make([]byte, 1)) // until its goroutine has begun, it looks like anybody's
		assert.NoError(t, err)
		quit := make(chan struct{})
		go waitFor(quit)
		l = w.Find(0, ep, nil)
		close(quit)
		assert.NoError(t, c.Close())
		after = w.Find(settle, ep)
	})
	assert.Len(t, l.Conns, 1)
	assert.Len(t, l.Goroutines, 1)
	assert.Empty(t, after)
	assert.True(t, after.Empty())
	assert.Empty(t, after.String())
}

// Of 500 tests at once exactly the two that leak are blamed, one for a connection, one for a
// goroutine.
func TestNoLeaksAmongFiveHundred(t *testing.T) {
	manytests.Long(t, "it is 500 tests")
	if !manytests.Alone(t) {
		return
	}
	needSockets(t)
	const all, leaksConn, leaksGoroutine = 500, 123, 321
	quit := make(chan struct{})
	var leaked net.Conn
	var texts [all]string
	var wg sync.WaitGroup
	for i := range all {
		run := leaking
		if i == leaksConn || i == leaksGoroutine {
			run = leaving
		}
		wg.Go(func() {
			texts[i] = run(t, func(tb *faketb.TB) {
				ep := Start(tb, fixtures.Echo{})
				c := acceptedBy(tb, ep)
				switch i {
				case leaksConn:
					leaked = c
					return
				case leaksGoroutine:
					go waitFor(quit)
				}
				assert.NoError(t, c.Close())
			}).Text()
		})
	}
	wg.Wait()
	close(quit)
	assert.NoError(t, leaked.Close())
	for i, text := range texts {
		switch i {
		case leaksConn:
			assert.Contains(t, text, oneConnection)
		case leaksGoroutine:
			assert.Contains(t, text, "leak: 1 goroutine left behind")
		default:
			assert.Empty(t, text, "test %d", i)
		}
	}
}

// A countingStack has a socket of each number up to n, and counts who asks.
type countingStack struct {
	network.Stack // nil: nothing but Connected is called
	n             uint64
	asked         *int
}

func (c countingStack) Connected() ([]network.Socket, error) {
	*c.asked++
	var all []network.Socket
	for i := range c.n {
		all = append(all, network.Socket{Number: i + 1})
	}
	return all, nil
}

// An unlistedStack does not list its sockets, as the kernels of most systems.
type unlistedStack struct{ network.Stack }

func (unlistedStack) Connected() ([]network.Socket, error) { return nil, errors.ErrUnsupported }

// What the endpoint's own HTTP client keeps open is no leak, where sockets are listed or not.
func TestNoLeaksOfAnIdleClient(t *testing.T) {
	t.Parallel()
	for _, nw := range []network.Stack{Kernel, unlistedStack{Kernel}} {
		text := faketb.Run(t, func(tb *faketb.TB) {
			NoLeaks(tb)
			ep := Start(tb, httpfault.OK{}, On(nw))
			resp, err := ep.Client().Get(ep.URL())
			if assert.NoError(t, err) {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}).Text()
		assert.Empty(t, text)
	}
}

// Nor is a connection whose FIN waits behind what the fixture does not read.
func TestNoLeaksOfWhatIsClosedInVain(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t) // MPTCP keeps what is closed with bytes unsent
	for _, nw := range []network.Stack{Kernel, unlistedStack{Kernel}} {
		text := faketb.Run(t, func(tb *faketb.TB) {
			NoLeaks(tb)
			ep := Start(tb, fixtures.NeverRead{}, On(nw))
			c, err := net.Dial("tcp", ep.Addr())
			if !assert.NoError(t, err) {
				return
			}
			assert.NoError(t, c.SetWriteDeadline(time.Now().Add(limit)))
			_, err = c.Write(make([]byte, 64<<20))
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.NoError(t, c.Close())
		}).Text()
		assert.Empty(t, text)
	}
}

// A look asks once for all suspects: with 400 of them, one question for each took half a minute.
func TestNoLeaksAsksOnceALook(t *testing.T) {
	t.Parallel()
	asked := 0
	var w Watch
	for i := range 400 {
		w.suspects = append(w.suspects, suspect{socket: socketOf{stack: countingStack{nil, 400, &asked}, number: uint64(i) + 1}})
	}
	assert.Len(t, w.open(nil), 400)
	assert.Equal(t, 1, asked)
}

// A flakyStack lists its sockets the first time only.
type flakyStack struct {
	network.Stack
	listed *bool
}

func (s flakyStack) Connected() ([]network.Socket, error) {
	if *s.listed {
		return nil, syscall.EMFILE
	}
	*s.listed = true
	return []network.Socket{{Number: 1}}, nil
}

// A suspect of which nothing can be asked any more is none the less one.
func TestNoLeaksUnlistedLater(t *testing.T) {
	t.Parallel()
	var w Watch
	w.suspects = []suspect{{socket: socketOf{stack: flakyStack{listed: new(bool)}, number: 1}}}
	assert.Len(t, w.open(nil), 1)
	assert.Len(t, w.open(nil), 1, "not listed")
}

// Who has left something open is said only if it is the same for all.
func TestLeaksNamesBothSides(t *testing.T) {
	t.Parallel()
	server, client := suspect{of: &sight{f: &hostile.Attack{}}, text: "a"}, suspect{text: "b"}
	for by, conns := range map[string][]suspect{" by the server": {server, server}, " by the client": {client, client},
		"": {server, client, client}} {
		assert.Contains(t, (&Watch{}).leaks(nil, conns).String(), "connections left behind"+by+"\n")
	}
}

// A hookedStack cannot be compared, and so is no key of a map.
type hookedStack struct {
	network.Stack
	_ []func()
}

func TestNoLeaksOnAnyStack(t *testing.T) {
	t.Parallel()
	var c net.Conn
	tb := leaving(t, func(tb *faketb.TB) {
		ep := Start(tb, fixtures.Echo{}, On(hookedStack{Stack: simnet.New(t)}))
		var err error
		c, err = ep.DialContext(t.Context(), "", "")
		assert.NoError(t, err)
	})
	assert.Contains(t, tb.Text(), oneConnection)
	assert.NoError(t, c.Close())
}
