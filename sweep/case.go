package sweep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/story"
	"example.com/go-sockettest/simnet"
)

// A Case is one conversation of a sweep: what the operation needs for it, and whom it tells. It can
// be given to testify's require and assert.
type Case struct {
	name  string
	addr  string
	limit time.Duration
	nw    *simnet.Network
	ctx   context.Context // ends when the operation hangs
	end   func()          // of the fault
	tap   *tap
	names *names
	dials atomic.Int64
	most  int64 // dials; further ones are slow, and fail

	mu       sync.Mutex
	phase    phase
	took     [phases]time.Duration
	wrong    []string
	err      error  // of the operation
	recovers error  // of Recovers
	asked    bool   // Recovers was called
	faulty   int64  // dials before it
	panicked string // value and stack
	failed   bool   // FailNow was called
	returned bool
	marks    []moment
	brokeIn  phase // where it panicked
	closers  []func() error
	struck   bool      // the fault close has called them
	closing  time.Time // since when they run; zero once they have returned
	settles  bool      // Recovers waits for what is in flight
	inFlight bool      // there was something
}

// A listener knows its conversation.
type listener struct {
	net.Listener
	c *Case
}

// CaseOf returns the conversation that a [Config.Server] serves, so that the server can tell
// [Case.Errorf]: that it has executed a request twice, or half of one, say.
//
//	Server: func(ln net.Listener) error { return mine.New(sweep.CaseOf(ln)).Serve(ln) }
//
// Each conversation has a Case of its own. CaseOf panics if ln is not what Run gave to the server.
func CaseOf(ln net.Listener) *Case {
	l, ok := ln.(*listener)
	if !ok {
		panic(fmt.Sprintf("bad argument: sweep.CaseOf: ln is a %T; want the listener that Run gives to Config.Server", ln))
	}
	return l.c
}

// A phase is a part of the operation with a limit of its own.
type phase int

const (
	operating phase = iota
	closing
	recovering
	waiting // for the server's limit; never late
	phases
)

func (p phase) String() string {
	return [phases]string{"the operation", "Close", "Recovers", "Recovers"}[p]
}

// Addr returns the server's address, host:port. The host is [Config.Host], if that is set.
func (c *Case) Addr() string { return c.addr }

// DialContext connects on the network of this conversation, as net.Dialer.DialContext does. Give it
// to the code under test.
func (c *Case) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := c.mayDial(); err != nil {
		return nil, err
	}
	address, err := c.names.resolve(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c.nw.DialContext(ctx, network, address)
}

// mayDial counts a dial.
func (c *Case) mayDial() error {
	if c.dials.Add(1) <= c.most {
		return nil
	}
	time.Sleep(again) // so that the clock goes on, whatever its caller does
	return errors.New("sweep: no more dials: there were too many")
}

// dialled is how often the operation dialled while there was a fault.
func (c *Case) dialled() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		return c.faulty
	}
	return c.dials.Load()
}

// Resolver returns a resolver that knows [Config.Host], for code that looks up names itself and
// dials addresses. DialContext uses it too.
func (c *Case) Resolver() *net.Resolver {
	if c.names.ep == nil {
		return c.nw.Resolver()
	}
	return c.names.ep.Resolver()
}

// Name returns the name of the point, such as "answer/byte_117/reset", or "good" without a fault.
func (c *Case) Name() string { return c.name }

// Close calls the function that closes the client. Its time does not count for the operation's and
// has the same limit; its error is not looked at.
//
//	defer c.Close(db.Close)
func (c *Case) Close(f func() error) {
	if f == nil {
		c.Errorf("bad argument: Case.Close: f is nil; want the function that closes the client")
		return
	}
	c.during(closing, func() { _ = f() })
}

// Closer names the function that closes the client, as soon as there is one. It is called when the
// operation has returned, as with defer and [Case.Close]. The fault close calls it in the middle of
// the operation as well, as a program does that shuts down: the operation must then end within its
// limit, and the second call must do no harm.
//
//	c.Closer(db.Close)
func (c *Case) Closer(f func() error) {
	if f == nil {
		c.Errorf("bad argument: Case.Closer: f is nil; want the function that closes the client")
		return
	}
	c.tap.mark()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closers = append(c.closers, f)
}

// closeAll calls the closers, the last one first.
func (c *Case) closeAll() {
	c.mu.Lock()
	list := slices.Clone(c.closers)
	c.mu.Unlock()
	for _, f := range slices.Backward(list) {
		c.Close(f)
	}
}

// closeNow is the fault close: another goroutine calls the closers while the operation runs.
func (c *Case) closeNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.closers) == 0 || c.phase != operating || c.returned {
		return
	}
	begin, list := time.Now(), slices.Clone(c.closers)
	c.struck, c.closing = true, begin
	go func() {
		defer func() {
			v := recover()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.closing, c.took[closing] = time.Time{}, max(c.took[closing], time.Since(begin))
			c.panics(v, closing)
		}()
		for _, f := range slices.Backward(list) {
			_ = f()
		}
	}()
}

// panics notes a panic, unless v is nil. The caller holds mu.
func (c *Case) panics(v any, in phase) {
	if v != nil && c.panicked == "" {
		c.panicked, c.brokeIn = fmt.Sprintf("%v\n%s", v, debug.Stack()), in
	}
}

// Recovers ends the fault, once what was sent has come there, and calls f: the server is well
// again, silence ends, and what waited arrives late. f must return nil within the limit. Until it
// does it is called again, a second later: a client without retries may find out only now that its
// connection has died. After the fault close f is not called, since the client is closed.
func (c *Case) Recovers(f func(ctx context.Context) error) {
	if f == nil {
		c.Errorf("bad argument: Case.Recovers: f is nil; want what must work when the fault is over")
		return
	}
	c.mu.Lock()
	if !c.asked {
		c.asked, c.faulty = true, c.dials.Load()
	}
	struck := c.struck
	c.mu.Unlock()
	c.during(waiting, func() {
		c.settle()
		c.end()
	})
	if struck {
		return
	}
	c.note("the fault is over, and Recovers begins --")
	c.during(recovering, func() {
		begin := time.Now()
		for {
			err := f(c.ctx)
			c.mu.Lock()
			c.recovers = err
			c.mu.Unlock()
			if err == nil || c.ctx.Err() != nil || time.Since(begin)+again > c.limit {
				return
			}
			time.Sleep(again)
		}
	})
}

// settle waits for what is in flight, if the operation did not: a client that does not read does
// not know. The fault may be at these bytes. The good conversation finds out if there are any.
func (c *Case) settle() {
	if !c.settles {
		return
	}
	before := c.tap.size()
	time.Sleep(roundTrip)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight = c.inFlight || c.tap.size() > before
}

// roundTrip is more than what is sent takes to the server, on a connection that it accepts, and the
// answer takes back.
const roundTrip = 13 * latency

// again is when Recovers tries again, and how long each dial takes of an operation that floods.
const again = time.Second

// Errorf says that the code under test did something wrong, such as to return a value that is not
// the server's.
func (c *Case) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// FailNow ends the operation, after an Errorf. Call it on the operation's own goroutine.
func (c *Case) FailNow() {
	c.mu.Lock()
	c.failed = true
	c.mu.Unlock()
	runtime.Goexit()
}

// during measures a part of the operation.
func (c *Case) during(p phase, f func()) {
	c.mu.Lock()
	before := c.phase
	c.phase = p
	c.mu.Unlock()
	begin, whole := time.Now(), false
	defer func() {
		d := time.Since(begin)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.took[p] = max(c.took[p], d)
		if before == operating {
			c.took[operating] -= d
		}
		if whole { // else the phase in which it panicked is told
			c.phase = before
		}
	}()
	f()
	whole = true
}

// note puts a mark into the timeline.
func (c *Case) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marks = append(c.marks, moment{time.Now(), text})
}

// A moment is a mark with its time.
type moment struct {
	at   time.Time
	text string
}

// marked places the marks among events, in the order of time.
func (c *Case) marked(events []fixtures.Event, began time.Time) (list []story.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.marks {
		at := m.at.Sub(began)
		before := slices.IndexFunc(events, func(e fixtures.Event) bool { return e.At > at || i == 0 && e.Conn > 0 })
		if before < 0 {
			before = len(events)
		}
		list = append(list, story.Mark{Before: before, At: at, Text: m.text})
	}
	return list
}

// run calls the operation on the goroutine that is its own.
func (c *Case) run(ctx context.Context, op func(context.Context, *Case) error) {
	begin := time.Now()
	c.note("the operation starts --")
	defer func() {
		v := recover()
		if v != nil {
			c.note("it panics --")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.took[operating] += time.Since(begin)
		c.panics(v, c.phase)
	}()
	defer c.closeAll()
	err := op(ctx, c)
	c.note("it returns --")
	c.tap.markEnd()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.returned = err, true
}
