package simnet

import (
	"slices"
	"time"
)

// What is sent on a network with latency is in the air until it lands. Without, it never is.

// A flight is what one end has sent that has not arrived, in order.
type flight struct {
	air      buffer // the data
	segments []segment
	event    event // the first one lands
}

// A segment is on its way to the other end.
type segment struct {
	kind segmentKind
	n    int       // bytes of data
	get  int       // how many of them get through, before what is lost
	lost bool      // what has no data
	at   time.Time // when it arrives; zero while it is held
}

type segmentKind int

const (
	dataSegment segmentKind = iota
	finSegment
	rstSegment
	windowSegment // the window has opened
)

// slow tells whether what c sends takes its time.
func (c *Conn) slow() bool { return c.out.slow() || c.flies() }

// flies tells whether something is in the air.
func (c *Conn) flies() bool { return c.flight != nil && len(c.flight.segments) > 0 }

// gone tells whether RST is all that c has to say to what still comes. While one is in the air it has the word.
func (c *Conn) gone() bool { return c.aborted && !c.flies() }

// inAir is how many bytes of data have not landed.
func (c *Conn) inAir() int {
	if c.flight == nil {
		return 0
	}
	return c.flight.air.len()
}

// fly sends a segment, or, where bandwidth is short, as many as n bytes need. None overtakes another. The caller holds mu.
func (c *Conn) fly(kind segmentKind, n int) {
	if c.flight == nil {
		c.flight = &flight{event: event{do: c.land}}
	}
	if len(c.flight.segments) == 0 {
		c.n.flying[c] = struct{}{}
	}
	most := n
	if c.out.rate() > 0 {
		most = min(n, mss)
	}
	for ; n > most; n -= most {
		c.send(kind, most)
	}
	c.send(kind, n)
	c.takeOff()
}

// send puts a segment behind the others.
func (c *Conn) send(kind segmentKind, n int) {
	f, s := c.flight, segment{kind: kind, n: n}
	wobble := jitter
	switch kind {
	case dataSegment:
		s.get = c.out.passes(n)
	case windowSegment:
		s.lost, wobble = c.out.loses(windowLoss), windowJitter
	default:
		s.lost = c.out.loses(loss)
	}
	if !c.out.isHeld() {
		s.at = c.out.arrival(n, wobble)
	}
	if len(f.segments) > 0 {
		if last := f.segments[len(f.segments)-1].at; last.IsZero() || last.After(s.at) && !s.at.IsZero() {
			s.at = last
		}
	}
	f.segments = append(f.segments, s)
}

// takeOff sets the time at which the first segment lands.
func (c *Conn) takeOff() {
	f := c.flight
	if len(f.segments) == 0 {
		delete(c.n.flying, c)
		return
	}
	if first := f.segments[0]; f.event.index == 0 && !first.at.IsZero() {
		c.n.schedule(&f.event, first.at)
	}
}

// land lets arrive what is due.
func (c *Conn) land() {
	f := c.flight
	for len(f.segments) > 0 && !f.segments[0].at.IsZero() && !f.segments[0].at.After(now()) {
		s := f.segments[0]
		f.segments = slices.Delete(f.segments, 0, 1)
		switch s.kind {
		case dataSegment:
			c.landData(s.n, s.get)
		case finSegment:
			c.landFIN(s.lost)
		case rstSegment:
			c.landRST(s.lost)
		case windowSegment:
			if !c.peer.deaf() && !s.lost {
				c.peer.windowOpened()
			} else if c.peer.snd.len() > 0 {
				c.peer.resend.lost = true
				c.peer.await()
			}
		}
	}
	c.takeOff()
}

// landData lets n bytes arrive, as far as they get through.
func (c *Conn) landData(n, through int) {
	f := c.flight
	for n > 0 {
		b := f.air.next()
		b = b[:min(n, len(b))]
		k := c.arrive(b, min(through, len(b)))
		through -= k
		f.air.skip(&c.n.spares, k)
		if n -= k; k < len(b) {
			c.takeBack()
			return
		}
	}
	c.writable.Broadcast()
}

// takeBack makes what is in the air data to be sent again: its beginning was lost, and what follows is of no use before.
func (c *Conn) takeBack() {
	f := c.flight
	f.segments = slices.DeleteFunc(f.segments, func(s segment) bool { return s.kind != rstSegment })
	if c.dead {
		f.air.drop(&c.n.spares)
		return
	}
	if c.out.lossy() && !c.deaf() && !c.peer.deaf() && !c.resend.gap {
		c.noteLoss(f.air.len() - mss)
	}
	again := f.air
	for b := c.snd.next(); b != nil; b = c.snd.next() {
		again.put(&c.n.spares, b)
		c.snd.skip(&c.n.spares, len(b))
	}
	c.snd, f.air = again, buffer{}
	if c.finSent == finFlies {
		c.finSent = finWaits
	}
	c.resend.lost, c.resend.resent = true, false
	c.await()
}
