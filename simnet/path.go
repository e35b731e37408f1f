package simnet

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"example.com/go-sockettest/internal/pace"
)

// A path leads from one host to another, or to itself, in one direction. The faults of the whole
// network, Network.all, come on top.
type path struct {
	n        *Network
	from, to *Host

	latency   override[time.Duration]
	jitter    override[time.Duration]
	bandwidth override[int]       // bytes a second; 0 is no bound
	loss      override[float64]   // of a segment
	mtu       override[int]       // 0 is no bound
	reorder   override[float64]   // of a datagram
	box       override[middlebox] // of a connection or a flow
	holds     int
	cuts      int

	ends   map[*Conn]struct{} // that send on it, and are not over
	flying map[*Conn]struct{} // ends with something in the air
	held   []*event           // what is not part of a connection
	meter  pace.Meter         // of what was sent
}

// mss is the number of bytes of data in one segment, on a path that loses or delays them:
// Ethernet's 1500 without the headers of IP and TCP, and TCP's timestamps.
const mss = 1448

// The headers of IPv4 and of TCP with its timestamps, or of UDP.
const (
	tcpHeaders = 1500 - mss
	udpHeaders = 28
)

// minMTU is what every path carries (RFC 791, section 3.2).
const minMTU = 68

// path returns the path from one host to another.
func (n *Network) path(from, to *Host) *path {
	key := [2]*Host{from, to}
	p := n.paths[key]
	if p == nil {
		p = &path{n: n, from: from, to: to, ends: map[*Conn]struct{}{}, flying: map[*Conn]struct{}{}}
		n.paths[key] = p
		n.into[to] = append(n.into[to], p)
	}
	return p
}

// takesTime reports whether what is sent arrives later than it was sent.
func (p *path) takesTime() bool {
	return p.n.faulty && (p.isHeld() || p.delay() > 0 || p.maxJitter() > 0 || p.rate() > 0)
}

func (p *path) isHeld() bool { return p.holds+p.n.all.holds > 0 }

func (p *path) isCut() bool { return p.cuts+p.n.all.cuts > 0 }

func (p *path) delay() time.Duration { return p.latency.value() + p.n.all.latency.value() }

func (p *path) maxJitter() time.Duration { return p.jitter.value() + p.n.all.jitter.value() }

// rate returns the bandwidth; 0 means no limit.
func (p *path) rate() int {
	a, b := p.bandwidth.value(), p.n.all.bandwidth.value()
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// vanishes reports whether a packet of n bytes is too large.
func (p *path) vanishes(n int) bool {
	for _, most := range [...]int{p.mtu.value(), p.n.all.mtu.value()} {
		if most > 0 && n > most {
			return true
		}
	}
	return false
}

// lossy reports whether segments are lost at all.
func (p *path) lossy() bool {
	return p.n.faulty && (p.loss.value() > 0 || p.n.all.loss.value() > 0)
}

// rtt returns how long a segment and its acknowledgement take, without jitter.
func (p *path) rtt() time.Duration {
	if !p.n.faulty {
		return 0
	}
	return p.delay() + p.n.path(p.to, p.from).delay()
}

// A way is a path as one sender uses it, with that sender's draws.
type way struct {
	*path
	who      *sender
	sources  *[kinds]*rand.Rand // those that were cast; nil if none was
	setAside *event             // a datagram that lets the next one pass
}

// random draws a number from [0, 1).
func (w *way) random(kind chance) float64 {
	if w.sources == nil {
		w.sources = new([kinds]*rand.Rand)
	}
	if w.sources[kind] == nil {
		h := fnv.New64a()
		for _, part := range []string{w.from.name, w.to.name, strconv.Itoa(int(kind)), w.who.dialled, w.who.addr.String(), strconv.Itoa(w.who.n)} {
			_, _ = io.WriteString(h, part+"\x00")
		}
		w.sources[kind] = rand.New(rand.NewPCG(w.n.seed, h.Sum64()))
		w.n.usedSeed = true
	}
	return w.sources[kind].Float64()
}

// loses draws whether a segment is lost.
func (w *way) loses(kind chance) bool {
	if !w.n.faulty {
		return false
	}
	passes := (1 - w.loss.value()) * (1 - w.n.all.loss.value())
	return passes < 1 && w.random(kind) >= passes
}

// passes draws how many of n bytes of data get through before a segment is lost. Where the first
// is too large, so are all but the last.
func (w *way) passes(n int) int {
	if w.n.faulty && w.vanishes(min(n, mss)+tcpHeaders) {
		return 0
	}
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

// arrival returns when n bytes that are sent now arrive.
func (w *way) arrival(n int, kind chance) time.Time {
	t, p := now(), w.path
	if rate := p.rate(); rate > 0 {
		_, t = p.meter.Next(t, n, time.Second, rate)
	}
	most, draw := p.maxJitter(), 0.0
	if most > 0 {
		draw = w.random(kind)
	}
	return t.Add(pace.Late(p.delay(), most, draw))
}

// carryOrLose calls arrive when something arrives that is not part of a connection's data: at once
// if the path takes no time. It calls lost instead if that is lost, or the path is cut by then.
func (w *way) carryOrLose(arrive, lost func()) {
	loses := w.loses(loss)
	w.carry(0, func() {
		if !w.isCut() && !loses {
			arrive()
		} else if lost != nil {
			lost()
		}
	})
}

// carry calls do when n bytes that are sent now arrive.
func (w *way) carry(n int, do func()) {
	switch {
	case !w.takesTime():
		do()
	case w.isHeld():
		w.held = append(w.held, &event{do: do})
	default:
		w.n.agenda.schedule(&event{do: do}, w.arrival(n, jitter))
	}
}

// reorderWait is how long a datagram that is to be overtaken waits for one that overtakes it.
const reorderWait = 10 * time.Millisecond

// sendDatagram carries a datagram of n bytes. One that is reordered arrives right behind the next,
// or 10 ms late if none comes.
func (w *way) sendDatagram(n int, arrive func()) {
	loses, swaps := w.loses(loss) || w.vanishes(n+udpHeaders), w.swaps()
	w.carry(n, func() {
		if w.isCut() || loses {
			return
		}
		overtaken := w.setAside
		if overtaken == nil && swaps {
			e := &event{}
			e.do = func() { w.setAside = nil; arrive() }
			w.setAside = e
			w.n.agenda.schedule(e, now().Add(reorderWait))
			return
		}
		arrive()
		if overtaken != nil {
			w.n.agenda.cancel(overtaken)
			overtaken.do()
		}
	})
}

// swaps draws whether a datagram is overtaken by the next.
func (w *way) swaps() bool {
	if !w.n.faulty {
		return false
	}
	stays := (1 - w.reorder.value()) * (1 - w.n.all.reorder.value())
	return stays < 1 && w.random(reorder) >= stays
}

// A middlebox on a path knows a connection or a flow for a time in which nothing passes.
type middlebox struct {
	idle   time.Duration // 0 is without limit
	resets bool
	since  time.Time
}

// boxBetween returns the most forgetful on a path and the one back.
func boxBetween(there, back *path) (least middlebox) {
	for _, o := range [...]*override[middlebox]{&there.box, &back.box, &there.n.all.box} {
		if m := o.value(); m.idle > 0 && (least.idle == 0 || m.idle < least.idle) {
			least = m
		}
	}
	return least
}

// An override is a stack of values: the latest that has not been undone is in force, or else the
// zero value.
type override[T any] struct{ layers []*T }

func (s *override[T]) value() (v T) {
	if last := len(s.layers) - 1; last >= 0 {
		v = *s.layers[last]
	}
	return v
}

// set puts v in force until undo is called. Calls may be undone in any order.
func (s *override[T]) set(v T) (undo func()) {
	change := &v
	s.layers = append(s.layers, change)
	return func() {
		s.layers = slices.DeleteFunc(s.layers, func(c *T) bool { return c == change })
	}
}
