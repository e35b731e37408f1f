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

	held  []*event  // what is not part of a connection
	busy  time.Time // when all that was sent has left
	aside *event    // a datagram that lets the next one pass

	lossDice, jitterDice, reorderDice dice
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
func (p *path) loses() bool {
	if p.n.troubles == 0 {
		return false
	}
	passes := (1 - p.loss.value()) * (1 - p.n.all.loss.value())
	return passes < 1 && p.lossDice.draw(p, "loss") >= passes
}

// lossy tells whether segments are lost at all.
func (p *path) lossy() bool {
	return p.n.troubles > 0 && (p.loss.value() > 0 || p.n.all.loss.value() > 0)
}

// passes draws how many of n bytes of data get through before a segment is lost.
func (p *path) passes(n int) int {
	if !p.lossy() {
		return n
	}
	for k := 0; k < n; k += mss {
		if p.loses() {
			return k
		}
	}
	return n
}

// arrival is when n bytes that are sent now arrive.
func (p *path) arrival(n int) time.Time {
	t := now()
	if rate := p.rate(); rate > 0 {
		if p.busy.After(t) {
			t = p.busy
		}
		t = t.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		p.busy = t
	}
	t = t.Add(p.delay())
	if most := p.wobble(); most > 0 {
		t = t.Add(time.Duration(p.jitterDice.draw(p, "jitter") * float64(most)))
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
func (p *path) after(arrive, lost func()) {
	loses := p.loses()
	p.carry(0, func() {
		if !p.isCut() && !loses {
			arrive()
		} else if lost != nil {
			lost()
		}
	})
}

// carry does something when n bytes that are sent now arrive.
func (p *path) carry(n int, do func()) {
	switch {
	case !p.slow():
		do()
	case p.isHeld():
		p.held = append(p.held, &event{do: do})
	default:
		p.n.schedule(&event{do: do}, p.arrival(n))
	}
}

// reorderWait is how long a datagram that is to be overtaken waits for one that does.
const reorderWait = 10 * time.Millisecond

// send carries a datagram of n bytes. One that is reordered arrives right behind the next, or 10 ms late if none comes.
func (p *path) send(n int, arrive func()) {
	loses, swaps := p.loses(), p.swaps()
	p.carry(n, func() {
		if p.isCut() || loses {
			return
		}
		overtaken := p.aside
		if overtaken == nil && swaps {
			e := &event{}
			e.do = func() { p.aside = nil; arrive() }
			p.aside = e
			p.n.schedule(e, now().Add(reorderWait))
			return
		}
		arrive()
		if overtaken != nil {
			p.n.drop(overtaken)
			overtaken.do()
		}
	})
}

// swaps draws whether a datagram is overtaken by the next.
func (p *path) swaps() bool {
	if p.n.troubles == 0 {
		return false
	}
	stays := (1 - p.reorder.value()) * (1 - p.n.all.reorder.value())
	return stays < 1 && p.reorderDice.draw(p, "reorder") >= stays
}
