package sockettest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
)

// A store is a client for a small database, with a bug in each of its methods. Its reports are what
// its author would see.
type store struct {
	addr    string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration
	idle    []net.Conn
}

var (
	errNotFound = errors.New("db: not found")
	errTooLong  = errors.New("db: answer too long")

	errAnotherAnswer = errors.New("db: not the answer to this question")
)

func (s *store) open(ctx context.Context) (net.Conn, error) {
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return c, nil
	}
	return s.dial(ctx, "tcp", s.addr)
}

// ask sends the question, and reads a line.
func ask(c net.Conn, key string) (string, error) {
	if _, err := io.WriteString(c, "GET "+key+"\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// get has no timeout at all.
func (s *store) get(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = ask(c, key)
	return err
}

// getWithin limits the connect, and nothing else.
func (s *store) getWithin(ctx context.Context, key string) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.open(limited)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = ask(c, key)
	return err
}

// getPatiently limits each read, where the whole was to be.
func (s *store) getPatiently(ctx context.Context, _ string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for b := make([]byte, 64); err == nil; {
		_ = c.SetReadDeadline(time.Now().Add(10 * s.timeout))
		_, err = c.Read(b)
	}
	return err
}

// getAgain tries again, and does not wait in between.
func (s *store) getAgain(ctx context.Context, _ string) error {
	var err error
	for range 4 {
		var c net.Conn
		if c, err = s.open(ctx); err == nil {
			return c.Close()
		}
	}
	return err
}

// getAndForget leaves the connection open where there is nothing to be found.
func (s *store) getAndForget(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	line, err := ask(c, key)
	if line == "NONE\n" {
		s.idle = append(s.idle, c) // only so that the garbage collector does not close it
		return errNotFound
	}
	return errors.Join(err, c.Close())
}

// getBlindly takes every error for an answer.
func (s *store) getBlindly(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(s.timeout))
	if line, _ := ask(c, key); line != "VALUE\n" {
		return errNotFound
	}
	return nil
}

// getPooled puts a connection back that it has closed.
func (s *store) getPooled(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	line, err := ask(c, key)
	s.idle = append(s.idle, c)
	if line == "NONE\n" {
		return errNotFound
	}
	return err
}

// getKept trusts the connection that it has kept.
func (s *store) getKept(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.idle = append(s.idle, c)
	_, err = ask(c, key)
	return err
}

// put takes the server's half-close for the end of the connection.
func (s *store) put(ctx context.Context, parts ...string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, parts[0]); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); err == io.EOF {
		_ = c.Close()
	}
	for _, p := range parts[1:] {
		if _, err := io.WriteString(c, p); err != nil {
			return err
		}
	}
	return nil
}

// getAll reads an answer whatever its size.
func (s *store) getAll(ctx context.Context, key string) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET "+key+"\n"); err != nil {
		return err
	}
	if n, _ := io.Copy(io.Discard, c); n > 1<<16 {
		return errTooLong
	}
	return nil
}

// getBoth takes the next datagram for the answer to its question.
func getBoth(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error)) error {
	c, err := dial(ctx, "udp", "")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, question := range []string{"GET k\n", "GET l\n"} {
		answer := make([]byte, 64)
		_, _ = io.WriteString(c, question)
		n, err := c.Read(answer)
		if err != nil {
			return err
		}
		if string(answer[:n]) != question {
			return errAnotherAnswer
		}
	}
	return nil
}

// none is a server that knows of nothing.
var none = fixtures.Scripted{Steps: script.Script{script.Match("GET k\n"), script.Send("NONE\n"), script.Stall()}}

// A bug is a test of a client, or of a server, that has one.
type bug struct {
	name string
	test func(t, outer testing.TB, on Option) // t is what it fails
}

// clientBugs are those by which reports are judged.
func clientBugs(limit time.Duration) []bug {
	started := func(t testing.TB, f fixtures.Fixture, on Option) (*fixtures.Endpoint, *store) {
		ep := Start(t, f, on)
		return ep, &store{addr: ep.Addr(), dial: ep.DialContext, timeout: limit}
	}
	return []bug{
		{"no timeout at all", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Silent{}, on)
			Expect(t, ep, TimedOut.After(limit), func(ctx context.Context) error { return s.get(ctx, "k") })
		}},
		{"a timeout on the connect only", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.BlackHole{}, on)
			Expect(t, ep, TimedOut.After(limit), func(ctx context.Context) error { return s.getWithin(ctx, "k") })
			ep, s = started(t, fixtures.Silent{}, on)
			s.dial = func(ctx context.Context, network, addr string) (net.Conn, error) { // however slow the machine is
				return ep.DialContext(context.WithoutCancel(ctx), network, addr)
			}
			Expect(t, ep, TimedOut.After(limit), func(ctx context.Context) error { return s.getWithin(ctx, "k") })
		}},
		{"a timeout for each read", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Drip{Every: limit * 11 / 100}, on)
			Expect(t, ep, TimedOut.After(limit), func(ctx context.Context) error { return s.getPatiently(ctx, "k") })
		}},
		{"no pause between attempts", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Refused{}, on)
			Expect(t, ep, Accepted.After(7*time.Second), func(ctx context.Context) error { return s.getAgain(ctx, "k") })
		}},
		{"a connection left open", func(t, outer testing.TB, on Option) {
			NoLeaks(t)
			ep, s := started(t, none, on)
			outer.Cleanup(func() {
				for _, c := range s.idle {
					_ = c.Close()
				}
			})
			Expect(t, ep, ErrorIs(errNotFound), func(ctx context.Context) error { return s.getAndForget(ctx, "k") })
		}},
		{"a context that is not obeyed", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Silent{}, on)
			Expect(t, ep, Canceled.After(limit), func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				defer context.AfterFunc(t.Context(), cancel)()
				go func() { // a connect that is cancelled would obey
					if ep.Await(ctx, fixtures.Received, 1) == nil {
						time.AfterFunc(limit, cancel)
					}
				}()
				return s.get(ctx, "k")
			})
		}},
		{"a timeout told as something else", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Silent{}, on)
			Expect(t, ep, TimedOut.After(limit), func(ctx context.Context) error { return s.getBlindly(ctx, "k") })
		}},
		{"a closed connection in the pool", func(t, _ testing.TB, on Option) {
			ep, s := started(t, none, on)
			get := func(ctx context.Context) error { return s.getPooled(ctx, "k") }
			Expect(t, ep, ErrorIs(errNotFound), get)
			if err := ep.Await(t.Context(), fixtures.PeerFIN, 1); err != nil {
				t.Fatal(err)
			}
			Expect(t, ep, ErrorIs(errNotFound), get)
		}},
		{"a stale connection in the pool", func(t, outer testing.TB, on Option) {
			ep, s := started(t, fixtures.Reset{AfterWritten: 6}, on)
			get := func(ctx context.Context) error { return s.getKept(ctx, "k") }
			Expect(t, ep, Accepted, get)
			assert.NoError(outer, ep.Await(t.Context(), fixtures.Ended, 1))
			Expect(t, ep, Accepted, get)
			assert.NoError(outer, s.idle[0].Close())
		}},
		{"a half-close taken for the end", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Scripted{Steps: script.Script{script.Match("one "), script.HalfClose(), script.Match("two three "), script.Close()}}, on)
			Expect(t, ep, Accepted, func(ctx context.Context) error { return s.put(ctx, "one ", "two ", "three ") })
		}},
		{"no limit on the size", func(t, _ testing.TB, on Option) {
			ep, s := started(t, fixtures.Scripted{Steps: script.Script{script.Match("GET k\n"), script.Forever(script.Send(strings.Repeat("x", 2*flood)), script.Wait(7*time.Millisecond))}}, on)
			Expect(t, ep, ErrorIs(errTooLong).Before(limit), func(ctx context.Context) error { return s.getAll(ctx, "k") })
		}},
	}
}

// What a client's author sees, on the kernel. It is read as docs/reports.md says.
func TestBugsOfClients(t *testing.T) {
	manytests.Long(t, "its clients wait for seconds, and those in virtual time do not")
	t.Parallel()
	for _, b := range clientBugs(200 * time.Millisecond) {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			tb := faketb.Alone(testName(b.name), func(tb *faketb.TB) { b.test(tb, t, On(Kernel)) })
			golden(t, steady(tb.Text()))
			assert.Equal(t, alike(t, "TestBugsOfClientsInVirtualTime"), alike(t, "TestBugsOfClients"), "both networks tell the same")
		})
	}
}

// alike reads the golden file of a report, less what must differ between networks.
func alike(t *testing.T, test string) string {
	t.Helper()
	_, bug, _ := strings.Cut(t.Name(), "/")
	b, err := os.ReadFile(filepath.Join("testdata", test+"-"+bug+".golden"))
	require.NoError(t, err)
	text := steady(string(b))
	for _, r := range []string{`, no later than TIME`, ` \(fake clock\)`, `\(it waits in .*\)`, `\d+ (B|parts)\b`} {
		text = regexp.MustCompile(r).ReplaceAllString(text, "")
	}
	return text
}

// lineNumbers change with the text of this file.
var lineNumbers = regexp.MustCompile(`\.go:\d+`)

// The same in virtual time: no word of it differs from run to run.
func TestBugsOfClientsInVirtualTime(t *testing.T) {
	t.Parallel()
	for _, b := range clientBugs(200 * time.Millisecond) {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				tb := faketb.Alone(testName(b.name)+"InVirtualTime", func(tb *faketb.TB) { b.test(tb, t, On(nw)) })
				golden(t, lineNumbers.ReplaceAllString(tb.Text(), ".go:LINE"))
			})
		})
	}
}

// testName makes a name for the test that a report is of.
func testName(bug string) string {
	var b strings.Builder
	b.WriteString("Test")
	for w := range strings.FieldsSeq(bug) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// serverBugs are servers under test, and what a hostile client wants of each.
func serverBugs(limit time.Duration) []bug {
	return []bug{
		{"no read deadline", func(t, _ testing.TB, _ Option) {
			a := Start(t, hostile.ConnectOnly{Target: serving(t, patient(0))})
			ExpectEnd(t, a, Disconnected.After(limit))
		}},
		{"a deadline for each read of a request", func(t, _ testing.TB, _ Option) {
			addr := serving(t, func(c *net.TCPConn) {
				for b, err := make([]byte, 64), error(nil); err == nil; {
					_ = c.SetReadDeadline(time.Now().Add(10 * limit))
					_, err = c.Read(b)
				}
			})
			a := Start(t, hostile.Slowloris{Target: addr, Every: limit / 10})
			ExpectEnd(t, a, Disconnected.After(limit))
		}},
		{"clients dropped at once", func(t, _ testing.TB, _ Option) {
			a := Start(t, hostile.ConnectOnly{Target: serving(t, func(*net.TCPConn) {})})
			ExpectEnd(t, a, Disconnected.After(time.Hour))
		}},
		{"an answer lost by a close with bytes unread", func(t, _ testing.TB, _ Option) {
			addr := serving(t, func(c *net.TCPConn) {
				_, _ = io.ReadFull(c, make([]byte, 3))
				_, _ = io.WriteString(c, "no such command\n")
			})
			a := Start(t, hostile.Scripted{Target: addr, Steps: script.Script{script.Send("GET a very long key\n"), script.Stall()}})
			ExpectEnd(t, a, Closed.Before(limit))
		}},
		{"one client at a time", func(t, _ testing.TB, _ Option) {
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			t.Cleanup(func() { _ = ln.Close(); <-done })
			go func() {
				defer close(done)
				if c, err := ln.Accept(); err == nil { // and not again before this one is served
					patient(0)(c.(*net.TCPConn))
					_ = c.Close()
				}
			}()
			a := Start(t, hostile.Flood{Target: ln.Addr().String(), Count: 2})
			ExpectEnd(t, a, Disconnected.After(limit))
		}},
		{"a connection that is never closed", func(t, outer testing.TB, _ Option) {
			NoLeaks(t)
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			Start(t, hostile.HalfClose{Target: ln.Addr().String()})
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			outer.Cleanup(func() { _ = c.Close() })
			_, _ = io.Copy(io.Discard, c)
		}},
	}
}

// What a server's author sees.
func TestBugsOfServers(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	for i, b := range serverBugs(200 * time.Millisecond) {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			if i < 2 || i > 3 {
				manytests.Long(t, "the server waits for seconds")
			}
			needInfo(t)
			tb := faketb.Alone(testName(b.name), func(tb *faketb.TB) { b.test(tb, t, nil) })
			text := steady(tb.Text())
			if b.name != "one client at a time" { // what is in flight changes all the time
				text, _, _ = strings.Cut(text, "\n  sockets ")
			}
			golden(t, strings.ReplaceAll(text, "#2", "#1")) // which of two is worse is up to the scheduler
		})
	}
}

// rareBugs are told in virtual time only, where the order of events is the same in each run.
func rareBugs(limit time.Duration) []bug {
	return []bug{
		{"an answer taken for that of the next question", func(t, _ testing.TB, on Option) {
			ep := Start(t, udp.Duplicate{}, on)
			Expect(t, ep, Accepted.Before(limit), func(ctx context.Context) error { return getBoth(ctx, ep.DialContext) })
		}},
		{"an accept loop that ends", func(t, _ testing.TB, on Option) { acceptsAgain(t, on, 0, Accepted.Before(limit)) }},
		{"an accept loop that spins", func(t, _ testing.TB, on Option) { acceptsAgain(t, on, 3, Accepted.At(15*time.Millisecond)) }},
		{"a server on simnet without a read deadline", func(t, _ testing.TB, on Option) {
			addr, ln := listening(t, on)
			go func() {
				if c, err := ln.Accept(); err == nil {
					_, _ = bufio.NewReader(c).ReadString('\n')
					_ = c.Close()
				}
			}()
			ExpectEnd(t, Start(t, hostile.ConnectOnly{Target: addr}, on), Disconnected.After(limit))
		}},
	}
}

func listening(t testing.TB, on Option) (addr string, ln net.Listener) {
	var where fixtures.Place
	on(&where)
	ln, err := where.Stack.Listen(t.Context(), "tcp", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String(), ln
}

// acceptsAgain runs a server that calls Accept again this often after it has failed, at once.
func acceptsAgain(t testing.TB, on Option, times int, want Window) {
	addr, ln := listening(t, on)
	failing := fixtures.AcceptError{Times: 3}.Listen(ln)
	loop := func() {
		for range times + 1 {
			if c, err := failing.Accept(); err == nil {
				_, _ = io.WriteString(c, "NONE\n")
				_ = c.Close()
				return
			}
		}
	}
	var where fixtures.Place
	on(&where)
	s := &store{addr: addr, dial: where.Stack.DialContext}
	Expect(t, failing, want, func(ctx context.Context) error {
		go loop()
		return s.get(ctx, "k")
	})
}

func TestRareBugs(t *testing.T) {
	t.Parallel()
	second := regexp.MustCompile(`(?m)^.* #2 .*\n`) // what the client sends after that comes before its return, or not
	for _, b := range rareBugs(200 * time.Millisecond) {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				tb := faketb.Alone(testName(b.name), func(tb *faketb.TB) { b.test(tb, t, On(nw)) })
				golden(t, second.ReplaceAllString(lineNumbers.ReplaceAllString(tb.Text(), ".go:LINE"), ""))
			})
		})
	}
}
