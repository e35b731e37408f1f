package rawsock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	seen  int  // SYNs dropped when it last looked
	quit  chan struct{}
	done  sync.WaitGroup

	diag  *sockDiag       // kept, so that it is there when descriptors are not; nil: on the grid
	known map[uint64]bool // the clients that hang, by inode
	due   []*hung
}

// A hung client is one whose connect is completed at its time.
type hung struct {
	client diagSocket
	at     time.Time
	fd     int // of the connection, from when there is one; else -1
}

// delay drops SYNs now, and completes each connect when it has hung for s.Handshake.
func (p *port) delay(fd int, s network.State) error {
	h := &handshake{port: p, delay: s.Handshake, small: s.SmallWindow, quit: make(chan struct{})}
	// A connection that was opened so is in no kernel's queue, which is what Hold and Backlog are about.
	if p.minTTL && s.Hold == 0 && s.Backlog == 0 && canOpen(p.v6) {
		var err error
		if h.diag, err = openSockDiag(); err != nil {
			return outOfDescriptors(err)
		}
	}
	err := p.drop(fd)
	if err == nil {
		h.seen, err = p.total(fd)
	}
	if err != nil {
		h.release()
		return err
	}
	p.shake = h
	if h.diag != nil {
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
	defer h.release()
	tick := time.NewTicker(synPoll) // no event tells of a SYN that was dropped
	defer tick.Stop()
	for {
		h.look()
		if !h.openDue() {
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

// look finds the clients whose first SYN has come since it was last called. A kernel that is too busy to say is asked again.
func (h *handshake) look() {
	n, _, err := h.port.Dropped()
	if err != nil || n == h.seen {
		return
	}
	hanging, err := h.diag.to(literal(h.port.addr), 1<<tcpSynSent)
	if err != nil {
		return
	}
	h.seen = n
	at := time.Now().Add(h.delay) // a little after the SYN, never before
	known := map[uint64]bool{}
	for _, c := range hanging {
		known[c.inode] = true
		if !h.known[c.inode] {
			h.due = append(h.due, &hung{client: c, at: at, fd: -1})
		}
	}
	h.known = known
}

// openDue completes what is due. It returns false if a client hangs on. Without descriptors a connect completes when there
// are some again, with those that are due after it.
func (h *handshake) openDue() bool {
	for len(h.due) > 0 && !time.Now().Before(h.due[0].at) {
		switch err := h.port.open(h, h.due[0]); {
		case noDescriptors(err):
			return true
		case err != nil:
			return false
		}
		h.due = h.due[1:]
	}
	return true
}

// release closes what is left when the state has changed.
func (h *handshake) release() {
	if h.diag != nil {
		h.diag.close()
	}
	for _, c := range h.due {
		if c.fd >= 0 {
			_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(c.fd)
		}
	}
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
		if n, _, err := h.port.Dropped(); err != nil || n > h.seen {
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
