package rawsock

import (
	"sync"
	"time"

	"example.com/go-sockettest/network"
)

// synPoll is how often a slow handshake looks for SYNs; one look costs under a microsecond.
const synPoll = time.Millisecond

// A handshake is the goroutine that completes connects some time after their first SYN.
//
// It does so exactly where it can: it looks up whose SYN was dropped, and at the time that is due connects to that
// client from the port itself, which TCP knows as simultaneous open (RFC 9293, section 3.5). Where it cannot, it waits
// for the first SYN, then for the delay, and lets the port listen: the client's next retransmission connects.
type handshake struct {
	port  *port
	delay time.Duration
	small bool // SmallWindow
	exact bool // by simultaneous open
	seen  int  // SYNs dropped when it last looked
	quit  chan struct{}
	done  sync.WaitGroup

	known map[uint64]bool // the clients that hang, by inode
	due   []hung
}

// A hung client is one whose connect is completed at its time.
type hung struct {
	client diagSocket
	at     time.Time
}

// delay drops SYNs now, and completes each connect when it has hung for s.Handshake.
func (p *port) delay(fd int, s network.State) error {
	if err := p.drop(fd); err != nil {
		return err
	}
	base, err := p.total(fd)
	if err != nil {
		return err
	}
	h := &handshake{port: p, delay: s.Handshake, small: s.SmallWindow, seen: base, quit: make(chan struct{})}
	p.shake = h
	// A connection that was opened so is in no kernel's queue, which is what Hold and Backlog are about.
	if p.minTTL && s.Hold == 0 && s.Backlog == 0 && canOpen(p.v6) {
		h.exact = true
		h.done.Go(h.run)
	} else {
		h.done.Go(h.runOnGrid)
	}
	return nil
}

// stop ends the goroutine and waits for it. A nil handshake has none.
func (h *handshake) stop() {
	if h == nil {
		return
	}
	close(h.quit)
	h.done.Wait()
}

// run completes each connect when it is due, until one turns out not to be completed so.
func (h *handshake) run() {
	tick := time.NewTicker(synPoll) // no event tells of a SYN that was dropped
	defer tick.Stop()
	for {
		if h.look() != nil || !h.openDue() {
			h.port.heal(h)
			return
		}
		select {
		case <-tick.C:
		case <-h.quit:
			return
		}
	}
}

// look finds the clients whose first SYN has come since it was last called.
func (h *handshake) look() error {
	n, err := h.port.Dropped()
	if err != nil || n == h.seen {
		return err
	}
	h.seen = n
	hanging, err := diagConnecting(literal(h.port.addr))
	at := time.Now().Add(h.delay) // a little after the SYN, never before
	known := map[uint64]bool{}
	for _, c := range hanging {
		known[c.inode] = true
		if !h.known[c.inode] {
			h.due = append(h.due, hung{c, at})
		}
	}
	h.known = known
	return err
}

// openDue completes what is due. It returns false if a client hangs on.
func (h *handshake) openDue() bool {
	for len(h.due) > 0 && !time.Now().Before(h.due[0].at) {
		client := h.due[0].client
		h.due = h.due[1:]
		if !h.port.open(h, client) {
			return false
		}
	}
	return true
}

// runOnGrid lets the port listen at the delay after the first SYN.
func (h *handshake) runOnGrid() {
	if h.awaitSYN() && h.sleep() {
		h.port.heal(h)
	}
}

func (h *handshake) awaitSYN() bool {
	tick := time.NewTicker(synPoll)
	defer tick.Stop()
	for {
		if n, err := h.port.Dropped(); err != nil || n > h.seen {
			return err == nil
		}
		select {
		case <-tick.C:
		case <-h.quit:
			return false
		}
	}
}

func (h *handshake) sleep() bool {
	t := time.NewTimer(h.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.quit:
		return false
	}
}

// heal makes the port answer, unless its state was changed meanwhile.
func (p *port) heal(h *handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shake != h || p.closed {
		return
	}
	s := p.state
	s.Handshake = 0
	_ = p.enter(s)
}
