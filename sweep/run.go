package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/story"
	"example.com/go-sockettest/simnet"
)

// A kind is what a violation is called.
type kind string

// The kinds of violations.
const (
	late     kind = "late"
	hangs    kind = "hangs"
	panics   kind = "panics"
	leaks    kind = "leaks"
	wrong    kind = "wrong"
	lost     kind = "does not recover"
	fails    kind = "fails"
	repeated kind = "repeated"
	freezes  kind = "frozen"
	keeps    kind = "kept"
	floods   kind = "floods"
	crashes  kind = "crashes"
)

// kinds are in the order of the report.
var kinds = []kind{wrong, repeated, crashes, panics, hangs, floods, late, fails, lost, leaks, keeps, freezes}

// A violation is one thing that the code under test did wrong at a point.
type violation struct {
	Kind kind
	Text string
}

// A result is how a conversation ended. A child sends what is exported to its parent, as JSON.
type result struct {
	point    point
	skipped  skip
	Fired    bool
	Dead     bool // goroutines stay
	Busy     bool // and use the processor
	GoesOn   bool // the operation has not ended
	Frozen   bool // the clock of its bubble stood still
	crashed  bool // it ended its process
	Recovers bool // Recovers was called
	InFlight bool // while bytes were under way
	Obeys    bool // the context was used
	Retried  bool // there were more connections than without a fault
	Next     retry
	Dials    int64
	err      error
	Took     time.Duration
	Found    []violation
	accepted []violation      // found, and taken out for a reason
	reason   string           // of the map, for these
	was      string           // on the map, where that is another outcome
	broken   error            // the conversation could not begin
	Timeline []fixtures.Event // in full
	Marks    []story.Mark     // on it
	Stacks   string           // of who hangs or is left behind; in full
	Talk     conversation     // what passed, without a fault
}

func (r result) is(k kind) bool {
	return slices.ContainsFunc(r.Found, func(v violation) bool { return v.Kind == k })
}

const (
	// latency is that of each hop. It puts what follows from each other at different instants, so that
	// it happens in one order.
	latency = 100 * time.Microsecond
	// patience is how many times its limit an operation gets before it hangs.
	patience = 5
	// mostDials is how often an operation may dial that does not do so without a fault.
	mostDials = 300
	// shown is how much of a goroutine's stack and of a timeline a report shows.
	shown = 40
)

// A run is one conversation.
type run struct {
	*sweep
	point point
	full  bool          // the report needs a timeline and stacks
	real  bool          // in real time, and not in a bubble
	hop   time.Duration // latency
	most  int64         // dials
	tap   tap
	names names

	obeys  atomic.Bool
	mu     sync.Mutex
	result result
}

// inBubble has the conversation in a bubble. If goroutines are left in it when it ends, the bubble
// panics: they are a leak, unless it is known that they hang.
func (s *sweep) inBubble(r *run) {
	r.result.point = r.point
	returned := false
	defer func() {
		switch v := recover(); {
		case v == nil && !returned:
			r.add(wrong, "a data race: see what the race detector wrote")
		case v == nil:
		case !strings.Contains(fmt.Sprint(v), "deadlock"):
			panic(v)
		default:
			if r.result.Dead = true; !r.result.is(hangs) && !r.result.is(floods) && !r.result.is(leaks) {
				r.add(leaks, "goroutines were left behind, %v after all was closed", r.grace())
			}
		}
	}()
	synctest.Test(s.t, func(*testing.T) { r.converse() })
	if returned = true; r.point.place == "" {
		r.result.Talk.Conns = r.tap.conns
		r.result.Talk.Lookups, _ = r.names.lookups()
	}
}

func (r *run) add(k kind, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Found = append(r.result.Found, violation{k, fmt.Sprintf(format, args...)})
}

// converse is what runs in the bubble.
func (r *run) converse() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.label(ctx)
	nw := simnet.New(nil)
	nw.Latency(r.hop)
	srv, err := r.serve(ctx, nw)
	if err != nil {
		r.result.broken = err
		return
	}
	defer srv.stop(r)
	ep, err := r.tap.start(ctx, nw, srv.addr, r.cfg.Names)
	if r.result.broken = cmp.Or(err, r.names.start(ctx, nw, r.cfg.Host)); r.result.broken != nil {
		return
	}
	defer r.names.close()
	op, cancelOp := context.WithCancel(ctx)
	defer cancelOp()
	c := &Case{name: r.point.name(), addr: r.names.addr(ep.Addr()), limit: r.cfg.Limit, nw: nw, ctx: ctx, most: r.most, tap: &r.tap, names: &r.names,
		settles: r.point.place == "" || r.good.InFlight}
	undo, err := c.intercept(nw, r.real)
	defer undo()
	if r.result.broken = err; err != nil {
		return
	}
	srv.start(c)
	over, contact := r.point.begin(arena{ep, &r.tap, &r.names, cancelOp, c.closeNow}), ep.WatchContact()
	c.end = sync.OnceFunc(func() {
		r.lookAtServer(nw, ep, srv.addr)
		r.tap.stop()
		r.names.stop()
		over()
	})
	r.operate(&obeyed{op, &r.obeys}, c, cancel, func() { _ = ep.Close() })
	time.Sleep(r.grace())
	r.result.Fired = r.cameTo(r.point, ep, contact().Came, c.dialled())
	r.conclude(c, ep)
	c.end()
	_ = ep.Close()
}

// conclude notes how the conversation has ended.
func (r *run) conclude(c *Case, ep *fixtures.Endpoint) {
	r.result.Obeys, r.result.Dials = r.obeys.Load(), c.dials.Load()
	r.result.Retried, r.result.Next = r.tap.retry(r.point, len(r.good.Conns))
	r.judge(c)
	if !r.result.is(hangs) && !r.result.is(floods) {
		r.lookForConns(c.nw, ep)
		r.lookForRequests()
	}
	if r.full {
		r.result.Timeline = slices.DeleteFunc(ep.Timeline(), func(e fixtures.Event) bool { return e.Kind == fixtures.Looked || isNaming(e) })
		r.result.Marks = c.marked(r.result.Timeline, ep.Started())
	}
}

// grace is that of the sweep. In real time nobody waits so long for what is about to end.
func (r *run) grace() time.Duration {
	if r.real {
		return min(r.cfg.Grace, slack)
	}
	return r.cfg.Grace
}

// slack is what a conversation in real time gets for the machine.
const slack = time.Second

// An obeyed context notes whether it is used.
type obeyed struct {
	context.Context
	used *atomic.Bool
}

func (h *obeyed) Done() <-chan struct{} {
	h.used.Store(true)
	return h.Context.Done()
}

func (h *obeyed) Err() error {
	h.used.Store(true)
	return h.Context.Err()
}

// operate runs the operation, and lets it go if it hangs.
func (r *run) operate(ctx context.Context, c *Case, cancel context.CancelFunc, release func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, r.op)
	}()
	within := func(d time.Duration) bool {
		for range 2 { // in two waits: a machine that stalls in real time takes no more than one of them
			t := time.NewTimer(d / 2)
			defer t.Stop()
			select {
			case <-done:
				return true
			case <-t.C:
			}
		}
		return false
	}
	limit, more, clock := patience*r.cfg.Limit+r.cfg.ServerLimit, r.cfg.Limit, ""
	if r.real {
		limit, more, clock = r.cfg.Limit+slack, slack, " of real time"
	}
	if within(limit) {
		return
	}
	c.mu.Lock()
	p := c.phase
	c.mu.Unlock()
	if r.full {
		r.result.Stacks = bubbleStacks("sweep.(*Case).run")
	}
	c.note("it has not returned: the sweep waits no longer --")
	how := "not even when its context was cancelled and all connections were closed"
	if cancel(); within(more) {
		how = "and ended when its context was cancelled"
	} else if release(); within(more) {
		how = "and ended when all connections were closed"
	}
	r.add(hangs, "%v had not returned after %v%s, %s", p, limit, clock, how)
}

// judge finds what the operation did wrong. If it hangs or floods, nothing else is known.
func (r *run) judge(c *Case) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.result.err, r.result.Took, r.result.Recovers, r.result.InFlight = c.err, c.took[operating], c.asked, c.inFlight
	if c.dials.Load() > c.most {
		r.result.Found, r.result.Stacks = []violation{{floods, fmt.Sprintf("it dialled %d times, and was kept from going on", c.most)}}, ""
	}
	r.result.Fired = r.result.Fired && (c.struck || !r.point.fault.closes)
	if d := time.Since(c.closing); !c.closing.IsZero() && d > r.cfg.Limit {
		r.add(hangs, "Close, called during the operation, had not returned after %v", d)
	}
	if r.result.is(hangs) || r.result.is(floods) {
		return
	}
	for _, w := range c.wrong {
		r.add(wrong, "%s", w)
	}
	switch {
	case c.panicked != "":
		text, stack, _ := strings.Cut(c.panicked, "\n")
		r.add(panics, "%v panicked: %s", c.brokeIn, text)
		_, stack, _ = strings.Cut(stack, "\npanic(")
		_, stack, _ = strings.Cut(stack, "\n") // the rest of panic's own frame
		_, r.result.Stacks, _ = strings.Cut(stack, "\n")
	case c.failed && len(c.wrong) == 0:
		r.add(wrong, "Case.FailNow was called")
	case !c.returned && !c.failed:
		r.add(wrong, "the operation called runtime.Goexit: give assertions the *sweep.Case, not the test")
	}
	if c.recovers != nil {
		r.add(lost, "%v after Recovers was called, still %v", c.took[recovering], c.recovers)
	}
	if c.err != nil && r.point.fault.Harmless {
		r.add(fails, "it did, with an error, though the fault is harmless: %v", c.err)
	}
	for p, took := range c.took {
		if took > r.cfg.Limit && !r.real && phase(p) != waiting && (phase(p) != recovering || c.recovers == nil) {
			r.add(late, "%v took %v, over the limit of %v", phase(p), took, r.cfg.Limit)
		}
	}
}

// lookForRequests finds those that came twice.
func (r *run) lookForRequests() {
	for _, request := range r.cfg.Once {
		if n := r.tap.count(request); n > 1 {
			r.add(repeated, "the server was sent %.64q %d times", request, n)
		}
	}
}

// lookForConns finds sockets of the client that it has not closed.
func (r *run) lookForConns(nw *simnet.Network, ep *fixtures.Endpoint) {
	sockets, _ := nw.Connected()
	n := 0
	for _, s := range sockets {
		if s.Remote == ep.Addr() {
			n++
		}
	}
	if n > 0 {
		r.add(leaks, "%s left open by the client, %v after it returned", count(n, "connection"), r.cfg.Grace)
	}
}

// lookAtServer finds the connection that the fault has struck, if the server keeps it.
func (r *run) lookAtServer(nw *simnet.Network, ep *fixtures.Endpoint, addr string) {
	if r.cfg.ServerLimit == 0 || r.real || r.point.place == "" || !r.cameTo(r.point, ep, true, math.MaxInt64) {
		return
	}
	time.Sleep(r.cfg.ServerLimit)
	sockets, _ := nw.Connected()
	for _, s := range sockets {
		if s.Local == addr && s.Remote == r.tap.behind(r.point.conn) {
			r.add(keeps, "the server still has the connection open, %v after the client was done with it", r.cfg.ServerLimit)
		}
	}
}

// A server is what the client talks to behind the relay.
type server struct {
	addr  string
	start func(*Case)
	stop  func(*run)
}

// serve makes the server.
func (r *run) serve(ctx context.Context, nw *simnet.Network) (server, error) {
	if r.cfg.Server == nil {
		ep, err := fixtures.Start(ctx, r.cfg.Fixture, fixtures.Place{Stack: nw})
		if err != nil {
			return server{}, fmt.Errorf("Config.Fixture: %w", err)
		}
		return server{ep.Addr(), func(*Case) {}, func(*run) { _ = ep.Close() }}, nil
	}
	ln, err := nw.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return server{}, err
	}
	done := make(chan error, 1)
	start := func(c *Case) {
		defer func() {
			if v := recover(); v != nil {
				r.add(panics, "Config.Server panicked: %v", v)
				done <- errors.New("it panicked")
			}
		}()
		done <- r.cfg.Server(&listener{ln, c})
	}
	return server{ln.Addr().String(), func(c *Case) { go start(c) }, func(r *run) { r.stopServer(ln, done) }}, nil
}

// stopServer closes the server's listener, and waits until it and all goroutines have ended.
func (r *run) stopServer(ln net.Listener, done chan error) {
	select {
	case err := <-done:
		done <- err
		switch text := fmt.Sprintf("Config.Server returned during the conversation: %v", err); {
		case r.result.broken != nil || r.result.is(panics):
		case r.point.place != "":
			r.add(lost, "%s", text)
		default:
			r.result.broken = errors.New(text + "; want it to serve until ln is closed")
		}
	default:
	}
	_ = ln.Close()
	time.Sleep(r.grace())
	if len(done) == 0 && !r.result.is(hangs) {
		r.add(leaks, "Config.Server has not returned, %v after its listener was closed", r.grace())
	}
	if r.full && r.result.Stacks == "" {
		r.result.Stacks = bubbleStacks("")
	}
}
