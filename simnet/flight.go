package simnet

import "slices"

// launch sends a segment, or, where bandwidth is limited, as many as n bytes need.
func (c *Conn) launch(kind segmentKind, n int) {
	if c.flight == nil {
		c.flight = &flight{event: event{do: c.land}}
	}
	if len(c.flight.segments) == 0 {
		c.out.flying[c] = struct{}{}
	}
	most := n
	if c.out.rate() > 0 {
		most = min(n, mss)
	}
	for ; n > most; n -= most {
		c.enqueue(kind, most)
	}
	c.enqueue(kind, n)
	c.scheduleLanding()
}

// enqueue puts a segment behind the others.
func (c *Conn) enqueue(kind segmentKind, n int) {
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
	f.segments = append(f.segments, s)
	if len(f.segments) == 1 {
		f.room = f.segments[:0]
	}
}

// next takes the first segment, and moves none.
func (f *flight) next() segment {
	s := f.segments[0]
	if f.segments = f.segments[1:]; len(f.segments) == 0 {
		f.segments = f.room
	}
	return s
}

// scheduleLanding sets the time at which the first segment arrives.
func (c *Conn) scheduleLanding() {
	f := c.flight
	if len(f.segments) == 0 {
		delete(c.out.flying, c)
		return
	}
	if first := f.segments[0]; f.event.index == 0 && !first.at.IsZero() {
		c.n.agenda.schedule(&f.event, first.at)
	}
}

// land lets arrive what is due. One that is due before those ahead of it waits for them.
func (c *Conn) land() {
	f := c.flight
	for len(f.segments) > 0 && !f.segments[0].at.IsZero() && !f.segments[0].at.After(now()) {
		s := f.next()
		switch s.kind {
		case dataSegment:
			c.landData(s.n, s.get)
		case finSegment:
			c.landFIN(s.lost)
		case rstSegment:
			c.landRST(s.lost)
		case windowSegment:
			if !c.peer.partitioned() && !s.lost {
				c.peer.onWindow()
			} else if c.peer.snd.len() > 0 {
				c.peer.resend.lost = true
				c.peer.armResend()
			}
		}
	}
	c.scheduleLanding()
}

// landData lets n bytes arrive, as far as they get through.
func (c *Conn) landData(n, through int) {
	f := c.flight
	for n > 0 {
		b := f.air.next()
		b = b[:min(n, len(b))]
		k := c.landBytes(b, min(through, len(b)))
		through -= k
		f.air.skip(&c.n.spares, k)
		if n -= k; k < len(b) {
			c.takeBack()
			return
		}
	}
	c.writable.Broadcast()
}

// takeBack puts what is in the air back into the send buffer: its beginning was lost, and what
// follows is useless without it.
func (c *Conn) takeBack() {
	f := c.flight
	f.segments = slices.DeleteFunc(f.segments, func(s segment) bool { return s.kind != rstSegment })
	if c.dead {
		f.air.drop(&c.n.spares)
		return
	}
	if !c.partitioned() && !c.peer.partitioned() && !c.resend.gap {
		c.noteLoss(f.air.len() - mss)
	}
	again := f.air
	for b := c.snd.next(); b != nil; b = c.snd.next() {
		again.put(&c.n.spares, b)
		c.snd.skip(&c.n.spares, len(b))
	}
	c.snd, f.air = again, buffer{}
	if c.finSent == finInAir {
		c.finSent = finUnsent
	}
	c.resend.lost, c.resend.resent = true, false
	c.armResend()
}
