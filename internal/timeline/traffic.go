package timeline

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// keepParts is how many parts of a Traffic are kept at each end.
	keepParts = 8
	// keepBytes is how many of the first bytes of a part are kept.
	keepBytes = 48
	// keepBinary is how many of these are shown of what is no text: quoted, each takes four letters.
	keepBinary = 12
)

// A Way is what a [Part] is, seen from the fixture.
type Way uint8

// The ways.
const (
	In    Way = iota // bytes came
	Out              // bytes were sent
	Fin              // FIN was sent, while the other direction goes on
	Round            // nothing: it is when a round began
)

// A Part is what passed in one direction until something passed in the other.
type Part struct {
	Way   Way
	At    time.Duration // of its beginning
	Last  time.Duration // of the last read, or write
	Pause time.Duration // the longest between two of them
	Count int           // of reads, or writes
	Size  int64         // in bytes
	Step  int           // of a script when it began, from 1; 0 is none
	After int           // how many events there were when it began
	Order int64         // among the parts of all connections

	round int64 // of the log
	first [keepBytes]byte
	kept  int
}

// String says in short what passed. Bytes are quoted, so that they can be printed, whatever they
// are.
func (p *Part) String() string {
	if p.Way == Fin {
		return "(half-close)"
	}
	kept := p.kept
	text := fmt.Sprintf("%q", p.first[:kept])
	if len(text) > 2*keepBytes && kept > keepBinary {
		kept = keepBinary
		text = fmt.Sprintf("%q", p.first[:kept])
	}
	if p.Size > int64(kept) {
		text += "..."
	}
	if p.Count == 1 {
		return text + fmt.Sprintf(" (%d B)", p.Size)
	}
	text += fmt.Sprintf(" (%d B in %d parts", p.Size, p.Count)
	if p.Last > p.At {
		text += fmt.Sprintf(" over %v, longest pause %v", Digits(p.Last-p.At), Digits(p.Pause))
	}
	return text + ")"
}

// Digits leaves three significant digits.
func Digits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 || -d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// A Stand is how far a script has come on a connection.
type Stand struct {
	Step  int    // from 1; 0 if there is no script
	Of    int    // steps
	Text  string // of the step, as its literal
	At    time.Duration
	After int // how many events there were then
	Done  bool
	Order int64  // among the parts
	Err   string // what ended it before its last step; empty if nothing did
}

// A clock is the part of a [Log] that a Traffic needs.
type clock interface {
	Len() int
	stamp() (at time.Duration, round int64)
	next() int64
}

// A Traffic is what passed on one connection: the first parts and the last, and how far a script
// has come. It takes no more room however much passes. Its methods may be called from any
// goroutine.
type Traffic struct {
	log clock

	mu    sync.Mutex
	parts []Part // the first ones, and from keepParts on a ring of the last
	at    int    // where in the ring the next one goes
	lost  int    // how many it has overwritten
	apart bool   // what comes next begins a part
	stand Stand
	last  [2]time.Duration // when bytes came, and were sent
}

// NewTraffic returns an empty Traffic, timed as the events of l are.
func NewTraffic[K ~string](l *Log[K]) *Traffic { return &Traffic{log: l} }

// Now returns the time, for Note.
func (t *Traffic) Now() time.Duration {
	at, _ := t.log.stamp()
	return at
}

// Note records bytes that came, or that were sent by a write which began at from.
func (t *Traffic) Note(w Way, from time.Duration, b []byte) {
	at, round := t.log.stamp()
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.latest()
	if p == nil || p.Way != w || p.round != round || w == Fin || t.apart {
		p = t.begin(Part{Way: w, At: from, Last: from, round: round, Step: t.stand.Step})
	}
	p.Pause = max(p.Pause, from-p.Last)
	p.Last = at
	if w != Fin {
		t.last[w] = at
	}
	p.Count++
	p.Size += int64(len(b))
	p.kept += copy(p.first[p.kept:], b)
}

// latest returns the last part; nil if there is none.
func (t *Traffic) latest() *Part {
	n := len(t.parts)
	switch {
	case n == 0:
		return nil
	case n < 2*keepParts:
		return &t.parts[n-1]
	}
	return &t.parts[keepParts+(t.at+keepParts-1)%keepParts]
}

func (t *Traffic) begin(p Part) *Part {
	t.apart = false
	p.Order, p.After = t.log.next(), t.log.Len()
	if len(t.parts) < 2*keepParts {
		t.parts = append(t.parts, p)
		return &t.parts[len(t.parts)-1]
	}
	t.parts[keepParts+t.at] = p
	t.at = (t.at + 1) % keepParts
	t.lost++
	return t.latest()
}

// Apart keeps what passes from now on apart from what has passed before: through a layer, say.
func (t *Traffic) Apart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.apart = true
}

// Step records that a script begins with a step or, if n is more than of, that it is at its end.
func (t *Traffic) Step(n, of int, text string) {
	at, _ := t.log.stamp()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stand = Stand{Step: n, Of: of, Text: text, At: at, After: t.log.Len(), Order: t.log.next(), Done: n > of}
}

// Left records what has ended a script.
func (t *Traffic) Left(err string) {
	at, _ := t.log.stamp()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stand.Step > 0 && !t.stand.Done {
		t.stand.At, t.stand.After, t.stand.Order, t.stand.Done, t.stand.Err = at, t.log.Len(), t.log.next(), true, err
	}
}

// Last returns when bytes last came, and when they were last sent.
func (t *Traffic) Last() (in, out time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last[In], t.last[Out]
}

// Parts returns what passed, in order, how many parts are missing before the last ones, and how far
// a script has come.
func (t *Traffic) Parts() (parts []Part, lost int, stand Stand) {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts = slices.Clone(t.parts)
	if len(parts) == 2*keepParts {
		parts = append(append(parts[:keepParts:keepParts], t.parts[keepParts+t.at:]...), t.parts[keepParts:keepParts+t.at]...)
	}
	return parts, t.lost, t.stand
}
