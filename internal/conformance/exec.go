package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/go-sockettest/network"
)

// A Trace is what a program observed, a step's own result and those of earlier calls that it let
// return. Addresses are replaced by names, so that the traces of two stacks can be compared.
type Trace struct {
	World string
	Steps []string
}

// A run is a program that is being executed.
type run struct {
	ctx      context.Context
	world    World
	stack    network.Stack
	port     network.Port
	address  string
	setup    int      // the Setup's N
	names    []string // pairs of an address and its name, for strings.NewReplacer
	ends     [2 * maxConnections]*end
	cancel   func() // ends the Connect that waits
	healing  bool   // the step is a Heal, or a Partition, which waits for acknowledgements
	dropping bool   // the port answers no SYN
	queue    []int  // connections that nobody has accepted, oldest first
	refused  bool   // the port does not listen
	closed   bool   // the port is closed
	begun    int
	pending  []*call
	seen     [2 * maxConnections]view // how the kernel's ends looked when all was last at rest
	calls    sync.WaitGroup
}

// An end is one end of a connection, and what the program has done to it: facts that tell when the
// kernel has finished.
type end struct {
	conn     network.Conn // nil until it is accepted
	address  string
	peer     *end
	sent     int  // bytes that Write took
	received int  // bytes that Read gave
	lost     bool // bytes were written to a peer that was closed: RST is the answer
	half     bool // CloseWrite was called
	fin      bool // FIN was sent
	rst      bool // RST was sent
	closed   bool
	closing  bool // its Close waits
	shut     bool // CloseRead
	past     bool // the read deadline has expired
	pastW    bool // the write deadline has
	abrupt   bool // SetLinger(0)
	lingers  bool // LongLinger
	reading  bool // a Read waits
	copying  bool // a WriteTo waits
	raw      bool // Look has read a byte
	filling  bool // a Fill waits
	before   int  // bytes that were sent before Fill
	emptied  bool // Drain has read all that there will ever be
	drained  bool // the other side has read all that a Fill writes
	full     bool // Fill was called: more is written than arrives before the other side reads for long
	cut      bool // Partition: what the other end sends vanishes
	everCut  bool // Partition was called
	unacked  bool // it has sent what was not acknowledged, since it is cut
	missing  bool // the other end has sent what has not arrived, since it is cut
	small    bool // it has a small receive window
	broken   bool // Fill was ended by an error of the connection
}

// A call is one that was begun.
type call struct {
	step    Step
	number  int // in order of their beginning
	end     *end
	rst     bool // a Close that will send RST
	full    bool // a Fill on an end that had been filled before
	whole   bool // a Drain of a Fill that still writes
	mute    bool // a Close that will send nothing
	must    bool // what it waits for was there before it began
	lingers bool // a Close that waits until all is read
	done    chan struct{}
	n       int
	data    []byte
	conn    network.Conn
	peer    network.PeerState
	ctx     context.Context
	err     error
}

// Execute runs the program on the world's stack, each step until nothing moves any more.
func (p Program) Execute(t *testing.T, w World) Trace {
	t.Helper()
	trace := Trace{World: w.Name}
	w.run(t, func(t *testing.T, s network.Stack) {
		r := &run{ctx: t.Context(), world: w, stack: s, setup: p.setup()}
		r.bind(t)
		defer r.end()
		for i, step := range p {
			text, err := r.step(step)
			if err != nil {
				trace.Steps = append(trace.Steps, text+"\n"+err.Error())
				t.Errorf("step %d of\n%s%v", i, p.Go(trace), err)
				return
			}
			trace.Steps = append(trace.Steps, text)
		}
	})
	return trace
}

func (r *run) bind(t *testing.T) {
	nw, address := "tcp", r.world.anyPort()
	if r.has(ipv6) {
		nw, address = "tcp6", ""
	}
	port, err := r.stack.Bind(r.ctx, nw, address)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	if err := port.Become(r.listening()); err != nil {
		t.Fatalf("listen: %v", err)
	}
	r.port, r.address = port, port.Addr().String()
	r.names = []string{r.address, "port"}
}

func (r *run) has(setup int) bool { return r.setup&setup > 0 }

// listening is the port's state.
func (r *run) listening() network.State {
	return network.State{Answer: network.Listen, SmallWindow: r.has(smallPort)}
}

// end resets all that is open: RST leaves no TIME-WAIT behind.
func (r *run) end() {
	for _, e := range r.ends {
		if e != nil && e.conn != nil && !e.closed {
			_ = e.conn.Reset()
		}
	}
	r.cancelConnect()
	_ = r.port.Close()
	r.calls.Wait()
	for _, c := range r.pending {
		if c.conn != nil {
			_ = c.conn.Reset()
		}
	}
}

// step makes one call, waits until nothing moves, and tells what came of it.
func (r *run) step(s Step) (string, error) {
	switch s.Op {
	case Setup:
		return "done", nil
	case CloseFull:
		return r.all(Step{Fill, s.End, 0}, Step{WriteDeadline, s.End, 0}, Step{LongLinger, s.End, 0}, Step{Close, s.End, 0})
	}
	for _, c := range r.pending {
		if c.returned() {
			return "", fmt.Errorf("%s returned although nothing had happened since it was seen to wait: %s", c.step.Go(), r.result(c))
		}
	}
	if why := r.useless(s); why != "" {
		return "left out: " + why, nil
	}
	r.healing = s.Op == Heal || s.Op == Partition
	c := r.begin(s)
	r.pending = append(r.pending, c)
	var back []*call
	err := r.settle(func(done *call) { back = append(back, done) })
	return r.text(c, back), err
}

// all makes several calls, one after the other.
func (r *run) all(steps ...Step) (string, error) {
	var texts []string
	for _, s := range steps {
		text, err := r.step(s)
		if texts = append(texts, text); err != nil {
			return strings.Join(texts, "\n"), err
		}
	}
	return strings.Join(texts, "\n"), nil
}

// text is what came of a call: its own result, and those of earlier ones that have waited for it,
// in the order in which they were begun.
func (r *run) text(c *call, back []*call) string {
	slices.SortFunc(back, func(a, b *call) int { return a.number - b.number })
	text := "waits"
	if i := slices.Index(back, c); i >= 0 {
		text = r.result(c)
		back = slices.Delete(back, i, i+1)
	}
	for _, done := range back {
		text += "\n" + done.step.Go() + " gives " + r.result(done)
	}
	return text
}

// begin starts the call, in a goroutine of its own: one that waits although it must not is told
// from one that does not.
func (r *run) begin(s Step) *call {
	r.begun++
	c := &call{step: s, number: r.begun, end: r.ends[s.End], done: make(chan struct{})}
	if s.Op == Close {
		i := r.seen[s.End]
		c.rst, c.mute = i.Unread > 0 || c.end.abrupt, dead(i.SocketInfo)
	}
	if e := c.end; s.Op == Close && e.lingers && e.full && !e.closed && !c.rst && !c.mute {
		e.noteClose(c) // for everybody else it is closed
		c.lingers, e.closing = true, true
	}
	if s.Op == Fill {
		if c.full = c.end.full; !c.full {
			c.end.before = c.end.sent
		}
		c.end.full, c.end.filling, c.end.drained = true, true, false
	}
	if s.Op.reads() || s.Op == Drain {
		c.end.reading, c.end.copying = true, s.Op == WriteTo
	}
	c.whole = s.Op == Drain && c.end.peer.filling
	if s.Op == Connect {
		c.ctx, r.cancel = context.WithCancel(r.ctx)
	}
	do := func() {
		defer close(c.done) // each waits for this, nothing is sent
		c.do(r)
	}
	c.must = !r.world.Virtual && r.due(c)
	r.calls.Go(do)
	return c
}

func (c *call) returned() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
