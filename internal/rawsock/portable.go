package rawsock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"example.com/go-sockettest/network"
)

// A portable port is held by one socket after another, all at the same port number: to change its
// answer it closes the one and opens the next. Between the two the port is free for an instant, and
// another program may take it; then Become says so, and the port refuses if it still can.
//
// Three more things differ from the port on Linux. Changing to another answer than Listen resets
// the connections that nobody has accepted, and they are not handed out later. With Hold,
// connections are taken from the kernel at once and wait here: the client cannot tell, but the
// kernel's queue never fills. And what was dropped is not counted, so that a handshake cannot be
// delayed.
type portable struct {
	noRefusals
	sys  platform
	addr *net.TCPAddr

	ctx      context.Context // ends with Close, and what Become is waiting for with it
	cancel   context.CancelFunc
	changing sync.Mutex     // held by Become and by Close from beginning to end
	pumps    sync.WaitGroup // of the opening that listens
	conns    conns          // accepted

	mu      sync.Mutex
	changed *sync.Cond // any of the fields below
	now     *opening   // nil when the port was lost
	state   network.State
	closed  bool
	waiting int         // calls of Accept
	met     int         // connections that were taken from the kernel
	queue   []arrival   // in the order of their arrival
	failure error       // of the last accept(2), until Accept has returned it
	alarm   *time.Timer // wakes Accept when the head of the queue is due
}

// An arrival is a connection that nobody has accepted yet.
type arrival struct {
	conn net.Conn
	at   time.Time
}

func bindPortable(ctx context.Context, addr *net.TCPAddr, sys platform) (network.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := sys.way(network.State{}, addr.IP.To4() == nil)
	if err != nil {
		return nil, err
	}
	o, err := sys.open(ctx, w, addr, false)
	if err != nil {
		return nil, explainBind(sys.goos, addr, err)
	}
	p := &portable{sys: sys, addr: &net.TCPAddr{IP: addr.IP, Port: o.port}, now: o}
	p.changed = sync.NewCond(&p.mu)
	p.alarm = time.AfterFunc(math.MaxInt64, p.ring)
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx)) // ctx is for binding only
	return p, nil
}

// explainBind is explainOpen for a port's first socket: later the same errno says that a port is in
// use.
func explainBind(goos string, a *net.TCPAddr, err error) error {
	if a.IP.To4() == nil && noSuchAddress(err) {
		return fmt.Errorf("%s: no IPv6 loopback on this host (%w): %w", goos, err, errors.ErrUnsupported)
	}
	return explainOpen(a, err)
}

// explainOpen adds the remedy to the errors that a caller can do something about.
func explainOpen(a *net.TCPAddr, err error) error {
	switch {
	case addressInUse(err) && a.Port != 0:
		return fmt.Errorf("%s is in use; choose another port, or none for any free one: %w", a, err)
	case addressInUse(err):
		return fmt.Errorf("no port of %s is free; close what holds them, or wait a minute for connections that were closed (TIME_WAIT): %w", a.IP, err)
	case noDescriptors(err):
		return fmt.Errorf("no descriptors left; close what the test holds open, or raise ulimit -n: %w", err)
	}
	err = fmt.Errorf("bind %s: %w", a, err)
	if lacksOption(err) {
		return fmt.Errorf("%s: this system lacks a socket option that a port needs (%w): %w", runtime.GOOS, err, errors.ErrUnsupported)
	}
	return err
}

// Addr returns the bound address.
func (p *portable) Addr() net.Addr { return p.addr }

// Become changes the answer; see [network.Port]. Where the way stays the same nothing is closed: a
// Listen with another Hold keeps its connections, and the new Hold is theirs too.
func (p *portable) Become(s network.State) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if p.ctx.Err() != nil {
		return p.opError("become", net.ErrClosed)
	}
	w, err := p.sys.way(s, p.addr.IP.To4() == nil)
	if err != nil {
		return err
	}
	if err := p.conns.set(s.Cut); err != nil {
		return err
	}
	if p.now != nil && p.now.way == w {
		p.enter(p.now, s)
		return nil
	}
	_ = p.leave() // a socket that cannot be closed shows in the error of the next one
	o, err := pastForks("tcp", p.addr.String(), p.sys.reuse != nil, func() (*opening, error) { return p.sys.open(p.ctx, w, p.addr, true) })
	switch {
	case err == nil:
		p.enter(o, s)
		return nil
	case p.ctx.Err() != nil:
		return p.opError("become", net.ErrClosed)
	}
	return p.fallBack(s, w, err)
}

// fallBack holds the port in the next best state after it could not enter s. If that is done in the
// same way, then it only took a second try.
func (p *portable) fallBack(s network.State, w way, cause error) error {
	cause = explainOpen(p.addr, cause)
	for _, a := range []network.Answer{network.Refuse, network.Own} {
		second := network.State{Answer: a}
		w2, err := p.sys.way(second, p.addr.IP.To4() == nil)
		if err != nil {
			continue
		}
		o, err := p.sys.open(p.ctx, w2, p.addr, true)
		switch {
		case err == nil && w2 == w:
			p.enter(o, s)
			return nil
		case err == nil:
			p.enter(o, second)
			return fmt.Errorf("%s did not become %q but %q: %w", p.addr, s.Answer, a, cause)
		}
	}
	if p.ctx.Err() != nil {
		return p.opError("become", net.ErrClosed)
	}
	return fmt.Errorf("%s was lost while it became %q, as it is free for an instant on %s; bind another port: %w",
		p.addr, s.Answer, p.sys.goos, cause)
}

// enter puts the state in force. The caller holds changing.
func (p *portable) enter(o *opening, s network.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != o && o.way == listening {
		p.pumps.Go(func() { p.pump(o) })
	}
	p.now, p.state = o, s
	p.changed.Broadcast()
}

// leave frees the port and resets what is queued, as a kernel does when a listener closes. The
// caller holds changing.
func (p *portable) leave() error {
	p.mu.Lock()
	o, queue := p.now, p.queue
	p.now, p.queue, p.failure = nil, nil, nil
	p.changed.Broadcast()
	p.mu.Unlock()
	for _, a := range queue {
		abort(a.conn)
	}
	if o == nil {
		return nil
	}
	err := o.Close()
	p.pumps.Wait() // one may hold a connection, which it resets; until then the port is not free
	return err
}

// pump takes connections from the kernel while o holds the port.
func (p *portable) pump(o *opening) {
	for p.wants(o) {
		c, err := o.ln.Accept()
		p.arrive(o, c, err)
	}
}

// wants waits until a connection is wanted from o, and returns false when o holds the port no
// longer. Without Hold, one is wanted for each call of Accept that would wait otherwise: the rest
// stay in the kernel's queue, so that it can fill.
func (p *portable) wants(o *opening) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.now == o && (p.failure != nil || p.state.Hold <= 0 && p.waiting <= p.due()) {
		p.changed.Wait()
	}
	return p.now == o
}

// arrive queues what accept(2) returned.
func (p *portable) arrive(o *opening, c net.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.now != o && err == nil:
		abort(c)
	case p.now != o: // the listener was closed
	case err != nil:
		p.failure = err
	default:
		p.queue = append(p.queue, arrival{c, time.Now()})
		p.met++
	}
	p.changed.Broadcast()
}

// due counts the connections that Accept may hand out now.
func (p *portable) due() int {
	latest := time.Now().Add(-p.state.Hold)
	n := slices.IndexFunc(p.queue, func(a arrival) bool { return a.at.After(latest) })
	if n < 0 {
		return len(p.queue)
	}
	return n
}

// Accept waits for the next connection; see [network.Port].
func (p *portable) Accept() (network.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	p.changed.Broadcast() // once, not each time round: two callers would keep each other awake
	defer func() {
		p.waiting--
		p.changed.Broadcast() // the pump may go on after a failure
	}()
	for {
		switch {
		case p.closed:
			return nil, p.opError("accept", net.ErrClosed)
		case p.due() > 0:
			c := p.queue[0].conn
			p.queue = p.queue[1:]
			if tcp, ok := c.(*net.TCPConn); ok {
				return p.adopt(tcp)
			}
			return plain(c)
		case p.failure != nil:
			err := p.failure
			p.failure = nil
			return nil, err
		case len(p.queue) > 0:
			p.alarm.Reset(time.Until(p.queue[0].at.Add(p.state.Hold)))
		}
		p.changed.Wait()
	}
}

// adopt makes a connection one of the port's.
func (p *portable) adopt(tcp *net.TCPConn) (network.Conn, error) {
	c, err := p.conns.add(tcp, nil)
	if err != nil {
		return nil, err // not c: a nil *conn is no nil network.Conn
	}
	return c, nil
}

// ring wakes Accept. It takes the lock, so that it cannot ring between Accept's look at the clock
// and its wait.
func (p *portable) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// Visits counts the connections that were made. A SYN that is refused or dropped leaves no trace
// here.
func (p *portable) Visits() network.Visits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return network.Visits{Count: p.met, Open: len(p.queue), Complete: p.state.Answer == network.Listen}
}

// Dropped is not available: no kernel but Linux's counts by socket what it dropped.
func (p *portable) Dropped() (int, time.Time, error) {
	return 0, time.Time{}, fmt.Errorf("%s: dropped SYNs are not counted by socket here: %w", p.sys.goos, errors.ErrUnsupported)
}

// AwaitDropped is not available either.
func (p *portable) AwaitDropped(context.Context, int) (int, error) {
	n, _, err := p.Dropped()
	return n, err
}

// Clients is not available: no kernel but Linux's is asked for the sockets of other programs.
func (p *portable) Clients() ([]network.Client, error) {
	return nil, fmt.Errorf("%s: the clients of a port are not shown here: %w", p.sys.goos, errors.ErrUnsupported)
}

// noRefusals is for ports of the kernel, which tells nobody what it has refused.
type noRefusals struct{}

// Refusals is not available.
func (noRefusals) Refusals() ([]time.Time, error) {
	return nil, fmt.Errorf("%s: connects that the kernel refuses are not shown: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Attempts is not available either.
func (noRefusals) Attempts() ([]network.Attempt, error) {
	return nil, fmt.Errorf("%s: connects that fail are not shown one by one: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Close gives the port back, and resets what nobody has accepted.
func (p *portable) Close() error {
	p.cancel()
	p.changing.Lock()
	defer p.changing.Unlock()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.alarm.Stop()
	return p.leave()
}

func (p *portable) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: p.addr, Err: err}
}

// Mechanism names what makes the port answer as it does now, for reports about a platform.
func (p *portable) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return "the port was lost"
	}
	return p.now.way.mechanism(p.sys, p.state)
}
