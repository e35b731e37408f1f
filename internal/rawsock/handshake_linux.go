package rawsock

import (
	"sync"
	"time"
)

// synPoll is how often a slow handshake looks for its first SYN; one look costs under a microsecond.
const synPoll = time.Millisecond

// A handshake is the goroutine that lets a port answer, some time after the first SYN.
type handshake struct {
	quit chan struct{}
	done sync.WaitGroup
}

// delay drops SYNs now, and listens d after the first of them has arrived.
func (p *port) delay(fd int, d time.Duration) error {
	if err := p.drop(fd); err != nil {
		return err
	}
	base, err := p.total(fd)
	if err != nil {
		return err
	}
	h := &handshake{quit: make(chan struct{})}
	p.shake = h
	gen := p.gen
	h.done.Go(func() {
		if h.awaitSYN(p, base) && h.sleep(d) {
			p.heal(gen)
		}
	})
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

// awaitSYN polls, since no event tells of a SYN that was dropped.
func (h *handshake) awaitSYN(p *port, base int) bool {
	tick := time.NewTicker(synPoll)
	defer tick.Stop()
	for {
		if n, err := p.Dropped(); err != nil || n > base {
			return err == nil
		}
		select {
		case <-tick.C:
		case <-h.quit:
			return false
		}
	}
}

func (h *handshake) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.quit:
		return false
	}
}

// heal makes the port answer, unless its state was changed meanwhile.
func (p *port) heal(gen int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gen != gen || p.closed {
		return
	}
	s := p.state
	s.Handshake = 0
	_ = p.enter(s)
}
