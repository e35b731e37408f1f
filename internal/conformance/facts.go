package conformance

import (
	"errors"
	"os"
	"slices"
)

// note keeps what a call that has returned has changed.
func (r *run) note(c *call) {
	e := c.end
	switch c.step.Op {
	case Connect:
		r.noteConnect(c)
	case Accept:
		r.noteAccept(c)
	case Refuse, ClosePort:
		r.notePort(c)
	case Drop, Listen:
		if c.err == nil {
			r.refused, r.dropping = false, c.step.Op == Drop
		}
	case Look, Read, WriteTo, Drain:
		e.noteRead(c)
	case Write, ReadFrom, Flood:
		e.sent += c.n
		e.lost = e.lost || c.n > 0 && e.peer.closed
		e.send(c.n > 0)
	case Fill:
		e.noteFill(c)
	case Linger, LongLinger:
		if c.err == nil {
			e.abrupt = c.step.Op == Linger && c.step.N == 0
			e.lingers = c.step.Op == LongLinger
		}
	case CloseRead:
		e.shut = e.shut || c.err == nil
	case CloseWrite:
		e.lost = e.lost || c.err == nil && !e.half && e.peer.closed && !e.peer.fin && !e.peer.rst
		e.send(c.err == nil && !e.half)
		e.half, e.fin = e.half || c.err == nil, e.fin || c.err == nil
	case Partition, Heal:
		e.noteCut(c)
	case Close, Reset:
		e.noteClose(c)
	case ReadDeadline, WriteDeadline, Deadline:
		e.noteDeadline(c)
	}
}

func (e *end) noteRead(c *call) {
	if c.step.Op == Look {
		if c.step.N == 0 && c.err == nil {
			e.received, e.raw = e.received+c.n, true
		}
		return
	}
	e.reading, e.copying = false, false
	e.received += c.n
	e.emptied = e.emptied || c.step.Op == Drain && !c.whole && c.err == nil
	e.peer.drained = e.peer.drained || c.step.Op == Drain && c.whole && c.err == nil
}

func (r *run) noteConnect(c *call) {
	if c.err != nil {
		return
	}
	client := &end{conn: c.conn, address: c.conn.LocalAddr().String(), small: r.has(smallClient)}
	client.peer = &end{peer: client, small: r.has(smallPort)}
	r.ends[c.step.End], r.ends[c.step.End+1] = client, client.peer
	r.names = append(r.names, client.address, endName(c.step.End))
	r.queue = append(r.queue, c.step.End/2)
}

// noteAccept finds which connection it is by the client's address.
func (r *run) noteAccept(c *call) {
	if c.err != nil {
		return
	}
	from := c.conn.RemoteAddr().String()
	i := slices.IndexFunc(r.queue, func(i int) bool { return r.ends[2*i].address == from })
	if i < 0 {
		return // result says so
	}
	c.end = r.ends[2*r.queue[i]+1]
	c.end.conn = c.conn
	r.queue = slices.Delete(r.queue, i, i+1)
}

// notePort: who stops listening resets what is queued.
func (r *run) notePort(c *call) {
	if c.err != nil {
		return
	}
	r.refused, r.dropping = true, false
	r.closed = r.closed || c.step.Op == ClosePort
	for _, i := range r.queue {
		r.ends[2*i+1].closed = true
		r.ends[2*i+1].reset()
	}
	r.queue = nil
}

func (e *end) noteFill(c *call) {
	e.filling = false
	e.sent += c.n
	e.full = c.full || c.n > 0 && c.err != nil
	e.broken = c.err != nil && !errors.Is(c.err, os.ErrDeadlineExceeded)
}

func (e *end) noteDeadline(c *call) {
	if c.err != nil {
		return
	}
	if c.step.Op != WriteDeadline {
		e.past = c.step.N == 0
	}
	if c.step.Op != ReadDeadline {
		e.pastW = c.step.N == 0
	}
}

func (e *end) noteClose(c *call) {
	if c.lingers {
		e.closing = false
	}
	if c.err != nil || c.lingers {
		return
	}
	e.closed, e.cut = true, false
	e.peer.missing = e.peer.missing || e.peer.cut
	switch {
	case c.mute:
	case c.rst || c.step.Op == Reset:
		e.reset()
	default:
		e.send(!e.fin)
		e.fin = true
	}
}
