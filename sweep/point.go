package sweep

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
)

// A Fault is what happens at a byte.
type Fault struct {
	Name     string // as reports and subtests name it
	Do       fixtures.Effect
	Harmless bool // the operation must succeed all the same

	make      func(arena) (do fixtures.Effect, undo func()) // instead of Do
	forGood   bool                                          // in both directions, and past Recovers
	recovers  bool                                          // it makes a difference if Recovers is called
	cancelled bool                                          // it makes a difference if the context is used
	closes    bool                                          // it makes a difference while there is a client to be closed
}

// An arena is where a fault happens.
type arena struct {
	ep     *fixtures.Endpoint
	tap    *tap
	names  *names
	cancel context.CancelFunc // of the operation's context
	close  func()             // calls the closers
}

// DefaultFaults are what Run tries at each byte:
//
//   - reset and fin end the connection, in both directions;
//   - silence lets nothing pass in one direction, until [Case.Recovers] is called and what waited
//     arrives late;
//   - silence-reset is the same, and then the connection is reset;
//   - dead lets nothing pass in either direction any more, after Recovers too: new connections work;
//   - cut is the cable that is pulled, until Recovers;
//   - cancel is the caller, who cancels the operation's context;
//   - close is the caller, who closes the client with what [Case.Closer] names;
//   - split makes a pause of 10 ms between two bytes, which must do no harm.
//
// Left out are silence-reset and dead where Recovers is not called, since they are as silence and
// cut then, cancel where the operation does not use its context, and close before Closer is called.
func DefaultFaults() []Fault {
	return []Fault{
		{Name: "reset", Do: fixtures.SendRST()},
		{Name: "fin", Do: fixtures.SendFIN()},
		{Name: "split", Do: fixtures.PauseFor(10 * time.Millisecond), Harmless: true},
		{Name: "silence", Do: fixtures.Mute(fixtures.Open)},
		{Name: "silence-reset", Do: fixtures.Mute(fixtures.RST), recovers: true},
		{Name: "dead", Do: fixtures.DropRest(), recovers: true, forGood: true},
		{Name: "cut", Do: fixtures.PartitionFor(0)},
		{Name: "cancel", cancelled: true, make: func(a arena) (fixtures.Effect, func()) {
			return fixtures.Call(func(*fixtures.Conn) { a.cancel() }), func() {}
		}},
		{Name: "close", closes: true, make: func(a arena) (fixtures.Effect, func()) {
			return fixtures.Call(func(*fixtures.Conn) { a.close() }), func() {}
		}},
	}
}

// gone is the server that goes away with all its connections, and refuses others.
var gone = Fault{Name: "gone", make: func(a arena) (fixtures.Effect, func()) {
	do := fixtures.Call(func(*fixtures.Conn) {
		_ = a.ep.Become(fixtures.Refused{}) // on simnet that cannot fail
		for _, c := range a.ep.Conns() {
			_ = c.Reset() // or it has ended
		}
	})
	return do, func() { _ = a.ep.Become(a.tap) }
}}

// The places of a conversation.
const (
	connecting = "connect"
	requesting = "request"
	answering  = "answer"
	lookingUp  = "lookup"
)

// places are words that names of connections may not be.
var places = []string{connecting, requesting, answering, lookingUp, "every", "good"}

// A point is one thing that goes wrong.
type point struct {
	conn  connID
	every bool   // and on each that follows
	place string // one of the above; empty without a fault
	at    int    // the byte that does not pass any more
	spot  string // its name in a TLS record; may be empty
	fault Fault
	then  *point                    // on the connection behind it; nil but for a pair
	does  func(arena) (undo func()) // instead of a rule at the byte; may be nil
}

// name is that of a subtest.
func (p point) name() string {
	if p.place == "" {
		return "good"
	}
	b := p.stream()
	switch {
	case p.spot != "":
		b += "/" + p.spot
	case p.atByte():
		b += fmt.Sprintf("/byte_%d", p.at)
	}
	b += "/" + p.fault.Name
	if p.then != nil {
		b += thenWord + p.then.name()
	}
	return b
}

// stream begins the names of the points in one direction.
func (p point) stream() string {
	b := ""
	if p.every {
		b = "every/"
	}
	switch {
	case p.place == lookingUp && p.conn.N > 1:
		return fmt.Sprintf("%s%s_%d", b, p.place, p.conn.N)
	case p.place == lookingUp:
		return b + p.place
	}
	return b + p.conn.path() + p.place
}

// atByte reports whether there are points of this kind at each byte.
func (p point) atByte() bool { return p.place == requesting || p.place == answering }

// part names the direction that the point is in.
func (p point) part() string { return fmt.Sprint(p.conn, p.place) }

// series names the points that differ in their byte alone.
func (p point) series() string { return fmt.Sprint(p.every, p.conn, p.place, p.fault.Name) }

// begin brings the fault about. The function that it returns ends it.
func (p point) begin(a arena) (end func()) {
	switch {
	case p.place == "":
		return func() {}
	case p.then != nil:
		then := p.then.begin(a)
		p.then = nil
		end := p.begin(a)
		return func() { end(); then() }
	case p.does != nil:
		return p.does(a)
	}
	do, after := p.fault.Do, func() {}
	if p.fault.make != nil {
		do, after = p.fault.make(a)
	}
	undo := p.arm(a, p.rules(do))
	return func() {
		after()
		undo()
	}
}

// rules bring it about, of which the later act first.
func (p point) rules(do fixtures.Effect) []fixtures.Rule {
	r := fixtures.Rule{Conn: p.conn.N, Do: do}
	if p.every {
		r.Conn = 0
	}
	switch {
	case p.place == connecting: // as soon as it is accepted
	case p.at == 0 && p.place == requesting:
		r.Nth = 1
	case p.at == 0:
		r.Way, r.Nth = fixtures.Out, 1
	case p.place == requesting:
		r.AfterRead = p.at
	default:
		r.AfterWritten = p.at
	}
	list := []fixtures.Rule{r}
	ends := p.fault.Do.String() == "SendRST()" || p.fault.Do.String() == "SendFIN()"
	if p.fault.forGood || ends && p.place == requesting { // the server is not to get the rest
		r.Hits, r.Do = fixtures.In, fixtures.DropRest()
		list = append(list, r)
	}
	if p.fault.forGood {
		r.Hits, r.Do = fixtures.Out, fixtures.DropRest()
		list = append(list, r)
	}
	return list
}

// points lists what can go wrong in the good conversation. If whole, none is left out.
func (s *sweep) points(whole bool) []point {
	var list []point
	for i := range s.good.Lookups {
		list = append(list, lookups(i+1, s.cfg.Host)...)
	}
	for i, conn := range s.good.Conns {
		list = append(list, connects(connID{N: i + 1})...)
		for _, d := range []struct {
			place string
			part  part
		}{{requesting, conn.Request}, {answering, conn.Answer}} {
			for _, at := range d.part.sample(whole) {
				for _, f := range s.faults() {
					if at >= d.part.Known && (!f.closes || d.part.closable(at)) {
						list = append(list, d.part.named(point{conn: conn.ID, place: d.place, at: at, fault: f}, whole)...)
					}
				}
			}
		}
	}
	if whole {
		for _, p := range list {
			list = append(list, p.harder()...)
		}
	}
	return list
}

// faults are those that make a difference.
func (s *sweep) faults() []Fault {
	return slices.DeleteFunc(slices.Clone(s.cfg.Faults), func(f Fault) bool {
		return f.recovers && !s.good.Recovers || f.cancelled && !s.good.Obeys
	})
}

// harder are the points for an operation that tries again: the same on each connection that
// follows, and a server that is gone.
func (p point) harder() []point {
	if p.does != nil || p.fault.cancelled || p.fault.closes || p.fault.Harmless {
		return nil
	}
	every := p
	every.every = true
	if p.fault.Name != "reset" || p.place == connecting {
		return []point{every}
	}
	away := p
	away.fault = gone
	return []point{every, away}
}

const (
	// sampleOver is how long a part may be of which each byte is tried. In a longer one these are:
	// ends bytes at each end, near bytes on both sides of where a write begins, three of each TLS
	// record, and steps others.
	sampleOver, ends, near, steps = 1024, 64, 8, 256
	// mostWrites is how many writes are looked at.
	mostWrites = 64
)

// sample lists the bytes of a part that are tried, the end included.
func (p part) sample(whole bool) (list []int) {
	size := len(p.Bytes)
	if size == 0 {
		return nil
	}
	special := make([]bool, size+1)
	for _, w := range p.Writes[:min(len(p.Writes), mostWrites)] {
		for at := max(0, w-near); at <= min(size, w+near); at++ {
			special[at] = true
		}
	}
	for at := range size + 1 {
		if whole || size <= sampleOver || at < ends || at > size-ends || at%(size/steps+1) == 0 || special[at] || p.spot(at) != "" {
			list = append(list, at)
		}
	}
	return list
}

// budget leaves points out where there are too many: bytes with all their faults, drawn by chance.
// Harder points are drawn in the order of the simple ones, so that what a smaller number of points
// takes, a larger one takes as well.
func (s *sweep) budget(points []point) (chosen []point, left int) {
	bytes := map[string][]point{}
	var order []string
	for _, p := range points {
		at := fmt.Sprint(p.conn, p.place, p.at)
		if bytes[at] == nil {
			order = append(order, at)
		}
		bytes[at] = append(bytes[at], p)
	}
	if len(s.order) == 0 {
		for i, n := range rand.New(rand.NewPCG(*seed, 1)).Perm(len(order)) {
			s.order[order[n]] = i
		}
	}
	most := s.most()
	if len(points) <= most+most/10 {
		return points, 0
	}
	drawn := map[string]bool{}
	n := 0
	for _, at := range slices.SortedFunc(slices.Values(order), func(a, b string) int { return cmp.Compare(s.order[a], s.order[b]) }) {
		if drawn[at] = n < most; n < most {
			n += len(bytes[at])
		}
	}
	for _, at := range order {
		if drawn[at] {
			chosen = append(chosen, bytes[at]...)
		}
	}
	return chosen, len(points) - len(chosen)
}

// The most conversations of a sweep.
const defaultMax, shortMax = 3000, 500

func (s *sweep) most() int {
	if testing.Short() {
		return min(s.cfg.Max, shortMax)
	}
	return s.cfg.Max
}

// slow is how long a slow connect takes.
const slow = 1370 * time.Millisecond

// connects are the points of a connect, and of those after it.
func connects(conn connID) []point {
	become := func(name string, f func(relay fixtures.Fixture) fixtures.Fixture) point {
		return point{conn: conn, place: connecting, fault: Fault{Name: name}, does: func(a arena) func() {
			now := func() { _ = a.ep.Become(f(a.tap)) } // on simnet that cannot fail
			undo := func() { _ = a.ep.Become(a.tap) }
			if conn.N == 1 {
				now()
				return undo
			}
			disarm := a.ep.Arm(fixtures.Rule{Conn: conn.N - 1, Do: fixtures.Call(func(*fixtures.Conn) { now() })})
			return func() { disarm(); undo() }
		}}
	}
	return []point{
		become("refused", func(fixtures.Fixture) fixtures.Fixture { return fixtures.Refused{} }),
		become("black-hole", func(fixtures.Fixture) fixtures.Fixture { return fixtures.BlackHole{} }),
		become("slow", func(relay fixtures.Fixture) fixtures.Fixture {
			return fixtures.SlowHandshake{Delay: slow, Then: relay}
		}),
		{conn: conn, place: connecting, fault: Fault{Name: "reset", Do: fixtures.SendRST()}},
	}
}
