package sweep

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A conversation is what passed in the good run.
type conversation struct {
	Conns    []stream // in the order of their names, or of their numbers
	Recovers bool     // Recovers was called
	InFlight bool     // while bytes were under way
	Obeys    bool     // the context was used
	Dials    int64
	Lookups  int
	Varies   string // what differs from one run to the next
}

// A stream is what passed on one connection.
type stream struct {
	ID              connID
	Request, Answer part
	Behind          string // the relay's own address of its connection to the server
}

// A part is one direction.
type part struct {
	Bytes   []byte
	Writes  []int // where each write begins, as the relay read it
	Records []int // where each TLS record begins, if there are any
	Known   int   // the first byte that the connection's name comes before; 0 if it has a number
	From    int   // the first byte at which there is a client to be closed
	Until   int   // and the first at which the operation is over; 0 if no client was named
}

// closable reports whether the fault close makes a difference at a byte.
func (p part) closable(at int) bool { return p.From <= at && at < p.Until }

func (p *part) add(b []byte) {
	if len(b) > 0 {
		p.Writes = append(p.Writes, len(p.Bytes))
		p.Bytes = append(p.Bytes, b...)
	}
}

// String lists the lengths.
func (c conversation) String() string {
	var parts []string
	for _, s := range c.Conns {
		parts = append(parts, fmt.Sprintf("%v: request of %d bytes, answer of %d", s.ID, len(s.Request.Bytes), len(s.Answer.Bytes)))
	}
	return strings.Join(parts, "; ")
}

// part is the direction that a point is in.
func (c conversation) part(p point) part {
	i := slices.IndexFunc(c.Conns, func(s stream) bool { return s.ID == p.conn })
	if p.place == requesting {
		return c.Conns[i].Request
	}
	return c.Conns[i].Answer
}

// converse has the good conversation twice, and compares.
func (s *sweep) converse() (conversation, error) {
	w := &worker{sweep: s}
	defer w.end()
	first, err := w.converseOnce()
	if errors.Is(err, errFrozen) {
		s.hop = 0
		first, err = w.converseOnce()
	}
	if err != nil {
		return first, err
	}
	second, err := w.converseOnce()
	if err != nil {
		return first, fmt.Errorf("the second time, %w", err)
	}
	first.Varies = first.differs(second)
	return first, nil
}

// errFrozen says that the clock stood still. It has no text of its own.
var errFrozen = errors.New("")

var errNone = errors.New("it returned no error")

func (w *worker) converseOnce() (conversation, error) {
	r := w.have(point{}, true)
	switch {
	case r.broken != nil:
		return conversation{}, r.broken
	case w.t.Failed():
		return conversation{}, errors.New("the operation failed the test by itself: give assertions the *sweep.Case, not the test")
	case len(r.Talk.Conns) == 0 && !r.is(freezes) && (r.err != nil || len(r.Found) == 0):
		return conversation{}, fmt.Errorf("the operation never connected to the server (%w); want it to dial Case.Addr with Case.DialContext, or the test built with the overlay of docs/unmodified.md",
			cmp.Or(r.err, errNone))
	case r.is(freezes):
		return conversation{}, fmt.Errorf("without any fault, %s%w", w.inFull(r), errFrozen)
	case len(r.Found) > 0:
		return conversation{}, fmt.Errorf("without any fault, %s", w.inFull(r))
	case r.err != nil:
		return conversation{}, fmt.Errorf("without any fault, the operation failed: %w; want a conversation that works", r.err)
	}
	for _, request := range w.cfg.Once {
		if countIn(r.Talk.Conns, request) == 0 {
			return conversation{}, fmt.Errorf("Config.Once has %q, which the operation does not send; want the bytes of a request of its", request)
		}
	}
	slices.SortStableFunc(r.Talk.Conns, func(a, b stream) int { return a.ID.compare(b.ID) })
	for _, name := range byLength(w.cfg.Names) {
		if !slices.ContainsFunc(r.Talk.Conns, func(s stream) bool { return s.ID.Name == name }) {
			return conversation{}, fmt.Errorf("Config.Names[%q] is %q, which no connection begins with; want some of the first %d bytes that"+
				" the client sends", name, w.cfg.Names[name], mostFirst)
		}
	}
	for i := range r.Talk.Conns {
		r.Talk.Conns[i].Request.findRecords()
		r.Talk.Conns[i].Answer.findRecords()
	}
	if w.cfg.Host != "" && r.Talk.Lookups == 0 {
		return conversation{}, fmt.Errorf("Config.Host is %q, which nobody looked up; want an operation that dials Case.Addr, or asks Case.Resolver", w.cfg.Host)
	}
	r.Talk.Recovers, r.Talk.InFlight, r.Talk.Obeys, r.Talk.Dials = r.Recovers, r.InFlight, r.Obeys, r.Dials
	return r.Talk, nil
}

// differs says what differs between two good runs, in lengths: the contents may differ.
func (c conversation) differs(o conversation) string {
	if len(c.Conns) != len(o.Conns) {
		return fmt.Sprintf("connections: %d and %d", len(c.Conns), len(o.Conns))
	}
	if c.Lookups != o.Lookups {
		return fmt.Sprintf("lookups of the host: %d and %d", c.Lookups, o.Lookups)
	}
	for i := range c.Conns {
		if a, b := c.Conns[i].ID, o.Conns[i].ID; a != b {
			return fmt.Sprintf("connections: there is %v, and %v the other time", a, b)
		}
		for _, d := range []struct {
			name string
			a, b []byte
		}{
			{requesting, c.Conns[i].Request.Bytes, o.Conns[i].Request.Bytes},
			{answering, c.Conns[i].Answer.Bytes, o.Conns[i].Answer.Bytes},
		} {
			if len(d.a) == len(d.b) {
				continue
			}
			at := 0
			for at < min(len(d.a), len(d.b)) && d.a[at] == d.b[at] {
				at++
			}
			return fmt.Sprintf("%s of %v: %d and %d bytes, which differ from byte %d on, %.32q and %.32q",
				d.name, c.Conns[i].ID, len(d.a), len(d.b), at, d.a[at:], d.b[at:])
		}
	}
	return ""
}

// A tap is a relay that notes what passes.
type tap struct {
	nw     *simnet.Network
	to     string
	mu     sync.Mutex
	over   bool
	marked bool
	conns  []stream                       // in the order in which they were accepted
	onName []func(*fixtures.Conn, stream) // called when a connection gets a name
}

// count is how often a request was sent.
func (t *tap) count(request string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return countIn(t.conns, request)
}

func countIn(conns []stream, request string) (n int) {
	for _, s := range conns {
		n += bytes.Count(s.Request.Bytes, []byte(request))
	}
	return n
}

// behind is where the relay's connection to the server comes from; empty if there is none.
func (t *tap) behind(conn connID) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.conns {
		if s.ID == conn {
			return s.Behind
		}
	}
	return ""
}

// Plan implements [fixtures.Fixture].
func (t *tap) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{
		State:   network.State{Answer: network.Listen},
		Serve:   t.serve,
		Behaves: true,
		Rule:    "a relay hands on what it gets",
	}, nil
}

// size is how many bytes have passed.
func (t *tap) size() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.conns {
		n += len(s.Request.Bytes) + len(s.Answer.Bytes)
	}
	return n
}

// stop ends the notes: what passes once the fault is over cannot be hit by one.
func (t *tap) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// mark notes how far the conversation is when the first client is named that can be closed.
func (t *tap) mark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.marked {
		return
	}
	t.marked = true
	for i := range t.conns {
		s := &t.conns[i]
		s.Request.From, s.Answer.From = len(s.Request.Bytes)+1, len(s.Answer.Bytes)+1
	}
}

// markEnd notes how far it is when the operation is over.
func (t *tap) markEnd() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.conns {
		if s := &t.conns[i]; t.marked {
			s.Request.Until, s.Answer.Until = len(s.Request.Bytes)+1, len(s.Answer.Bytes)+1
		}
	}
}

// note calls add with the stream of a connection.
func (t *tap) note(conn int, add func(*stream)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(conn, add)
}

// noteLocked is note, for a caller that holds mu.
func (t *tap) noteLocked(conn int, add func(*stream)) {
	if t.over {
		return
	}
	for len(t.conns) < conn {
		t.conns = append(t.conns, stream{ID: connID{N: len(t.conns) + 1}})
	}
	add(&t.conns[conn-1])
}

func (t *tap) serve(ctx context.Context, c *fixtures.Conn) error {
	t.note(c.ID(), func(*stream) {})
	nc, err := t.nw.DialContext(ctx, "tcp", t.to)
	if err != nil {
		return err
	}
	sc, ok := nc.(*simnet.Conn)
	if !ok {
		return errors.Join(fmt.Errorf("simnet dialled a %T", nc), nc.Close())
	}
	t.note(c.ID(), func(s *stream) { s.Behind = nc.LocalAddr().String() })
	return c.Relay(ctx, tapped{sc, t, c.ID()})
}

// A tapped connection is one to the server.
type tapped struct {
	*simnet.Conn
	tap *tap
	n   int // its number
}

func (c tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tap.note(c.n, func(s *stream) { s.Answer.add(b[:n]) })
	return n, err
}

func (c tapped) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.tap.note(c.n, func(s *stream) { s.Request.add(b[:n]) })
	return n, err
}

var _ net.Conn = tapped{}
