package sweep

import (
	"errors"
	"fmt"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/story"
)

// A goodWire is a conversation on its way to a child.
type goodWire struct {
	Streams         []streamWire
	Recovers, Obeys bool
	Dials           int64
	Lookups         int
	Varies          string
}

type streamWire struct {
	Name            string
	N               int
	Request, Answer partWire
	Behind          string
}

type partWire struct {
	Bytes              []byte
	Writes, Records    []int
	Known, From, Until int
}

func wireOf(c conversation) goodWire {
	return goodWire{streamsWire(c.conns), c.recovers, c.obeys, c.dials, c.lookups, c.varies}
}

func (w goodWire) conversation() conversation {
	return conversation{streamsOf(w.Streams), w.Recovers, w.Obeys, w.Dials, w.Lookups, w.Varies}
}

func streamsWire(list []stream) (out []streamWire) {
	half := func(p part) partWire { return partWire{p.bytes, p.writes, p.records, p.known, p.from, p.until} }
	for _, s := range list {
		out = append(out, streamWire{s.id.name, s.id.n, half(s.request), half(s.answer), s.behind})
	}
	return out
}

func streamsOf(list []streamWire) (out []stream) {
	half := func(p partWire) part { return part{p.Bytes, p.Writes, p.Records, p.Known, p.From, p.Until} }
	for _, s := range list {
		out = append(out, stream{connID{s.Name, s.N}, half(s.Request), half(s.Answer), s.Behind})
	}
	return out
}

type retryWire struct {
	Name            string
	N               int
	Request, Answer [2]int
}

// An answer is a result on its way from a child.
type answer struct {
	Failed                                                      bool // the test, in the child
	Fired, Dead, Busy, GoesOn, Frozen, Recovers, Obeys, Retried bool
	Next                                                        retryWire
	Dials                                                       int64
	Err, Broken                                                 *toldError
	Took                                                        time.Duration
	Kinds, Texts                                                []string
	Timeline                                                    []fixtures.Event
	Marks                                                       []story.Mark
	Stacks                                                      string
	Talk                                                        goodWire
}

func answerOf(r result, failed bool) answer {
	a := answer{Failed: failed, Fired: r.fired, Dead: r.dead, Busy: r.busy, GoesOn: r.goesOn, Frozen: r.frozen, Recovers: r.recovers,
		Obeys: r.obeys, Retried: r.retried, Next: retryWire{r.next.id.name, r.next.id.n, r.next.request, r.next.answer}, Dials: r.dials, Err: tell(r.err), Broken: tell(r.broken), Took: r.took, Timeline: r.timeline, Marks: r.marks,
		Stacks: r.stacks, Talk: wireOf(r.talk)}
	for _, v := range r.found {
		a.Kinds, a.Texts = append(a.Kinds, string(v.kind)), append(a.Texts, v.text)
	}
	return a
}

func (a answer) result(p point) result {
	r := result{point: p, fired: a.Fired, dead: a.Dead, busy: a.Busy, goesOn: a.GoesOn, frozen: a.Frozen, recovers: a.Recovers,
		obeys: a.Obeys, retried: a.Retried, next: retry{connID{a.Next.Name, a.Next.N}, a.Next.Request, a.Next.Answer}, dials: a.Dials, took: a.Took, timeline: a.Timeline, marks: a.Marks, stacks: a.Stacks, talk: a.Talk.conversation()}
	for i, k := range a.Kinds {
		r.found = append(r.found, violation{kind(k), a.Texts[i]})
	}
	if a.Err != nil { // else it would be an error that is nil
		r.err = a.Err
	}
	if a.Broken != nil {
		r.broken = a.Broken
	}
	return r
}

// A toldError is one of another process.
type toldError struct{ Text, Type, Outcome string }

func (e *toldError) Error() string { return e.Text }

func tell(err error) *toldError {
	if err == nil {
		return nil
	}
	return &toldError{err.Error(), fmt.Sprintf("%T", err), outcomeOf(err)}
}

// typeOf names the type of an error, also of one of another process.
func typeOf(err error) string {
	if e, ok := errors.AsType[*toldError](err); ok {
		return e.Type
	}
	return fmt.Sprintf("%T", err)
}
