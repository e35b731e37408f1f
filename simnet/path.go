package simnet

import "time"

// A path leads from one host to another, or to itself, in one direction. What the whole network has, its path all, comes on
// top. The network's lock guards it.
type path struct {
	n        *Network
	from, to *Host

	latency   setting[time.Duration]
	jitter    setting[time.Duration]
	bandwidth setting[int]     // bytes a second; 0 is no bound
	loss      setting[float64] // of a segment
	reorder   setting[float64] // of a datagram
	holds     int
	cuts      int

	held []*event  // what is not part of a connection
	busy time.Time // when all that was sent has left
}

// mss is how many bytes of data one segment carries, on a path that loses or delays them: Ethernet's 1500 without the
// headers of IP and TCP, and TCP's timestamps.
const mss = 1448

// path returns the way from one host to another. The caller holds mu.
func (n *Network) path(from, to *Host) *path {
	key := [2]*Host{from, to}
	p := n.paths[key]
	if p == nil {
		p = &path{n: n, from: from, to: to}
		n.paths[key] = p
	}
	return p
}

// slow tells whether what is sent takes its time.
func (p *path) slow() bool {
	return p.n.troubles > 0 && (p.isHeld() || p.delay() > 0 || p.wobble() > 0 || p.rate() > 0)
}

func (p *path) isHeld() bool { return p.holds+p.n.all.holds > 0 }

func (p *path) isCut() bool { return p.cuts+p.n.all.cuts > 0 }

func (p *path) delay() time.Duration { return p.latency.value() + p.n.all.latency.value() }

func (p *path) wobble() time.Duration { return p.jitter.value() + p.n.all.jitter.value() }

// rate is the bandwidth; 0 is no bound.
func (p *path) rate() int {
	a, b := p.bandwidth.value(), p.n.all.bandwidth.value()
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// loses draws whether a segment is lost.
func (w *way) loses(kind chance) bool {
	if w.n.troubles == 0 {
		return false
	}
	passes := (1 - w.loss.value()) * (1 - w.n.all.loss.value())
	return passes < 1 && w.draw(kind) >= passes
}

// lossy tells whether segments are lost at all.
func (p *path) lossy() bool {
	return p.n.troubles > 0 && (p.loss.value() > 0 || p.n.all.loss.value() > 0)
}

// passes draws how many of n bytes of data get through before a segment is lost.
func (w *way) passes(n int) int {
	if !w.lossy() {
		return n
	}
	for k := 0; k < n; k += mss {
		if w.loses(loss) {
			return k
		}
	}
	return n
}

// arrival is when n bytes that are sent now arrive.
func (w *way) arrival(n int, kind chance) time.Time {
	t, p := now(), w.path
	if rate := p.rate(); rate > 0 {
		if p.busy.After(t) {
			t = p.busy
		}
		t = t.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		p.busy = t
	}
	t = t.Add(p.delay())
	if most := p.wobble(); most > 0 {
		t = t.Add(time.Duration(w.draw(kind) * float64(most)))
	}
	return t
}

// rtt is how long a segment and its acknowledgement take, without jitter.
func (p *path) rtt() time.Duration {
	if p.n.troubles == 0 {
		return 0
	}
	return p.delay() + p.n.path(p.to, p.from).delay()
}

// after lets something arrive that is no part of a connection's data: at once, if the path is not slow; or, if it is cut by
// then, be lost.
func (w *way) after(arrive, lost func()) {
	loses := w.loses(loss)
	w.carry(0, func() {
		if !w.isCut() && !loses {
			arrive()
		} else if lost != nil {
			lost()
		}
	})
}

// carry does something when n bytes that are sent now arrive.
func (w *way) carry(n int, do func()) {
	switch {
	case !w.slow():
		do()
	case w.isHeld():
		w.held = append(w.held, &event{do: do})
	default:
		w.n.schedule(&event{do: do}, w.arrival(n, jitter))
	}
}

// reorderWait is how long a datagram that is to be overtaken waits for one that does.
const reorderWait = 10 * time.Millisecond

// send carries a datagram of n bytes. One that is reordered arrives right behind the next, or 10 ms late if none comes.
func (w *way) send(n int, arrive func()) {
	loses, swaps := w.loses(loss), w.swaps()
	w.carry(n, func() {
		if w.isCut() || loses {
			return
		}
		overtaken := w.aside
		if overtaken == nil && swaps {
			e := &event{}
			e.do = func() { w.aside = nil; arrive() }
			w.aside = e
			w.n.schedule(e, now().Add(reorderWait))
			return
		}
		arrive()
		if overtaken != nil {
			w.n.drop(overtaken)
			overtaken.do()
		}
	})
}

// swaps draws whether a datagram is overtaken by the next.
func (w *way) swaps() bool {
	if w.n.troubles == 0 {
		return false
	}
	stays := (1 - w.reorder.value()) * (1 - w.n.all.reorder.value())
	return stays < 1 && w.draw(reorder) >= stays
}
