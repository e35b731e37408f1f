package conformance

import (
	"slices"
	"testing"
)

// Compare executes the program on all worlds. If the trace of one differs from that of truth it
// makes the program as small as it can be with the traces still different, and fails with it and
// what each step gave on either side.
func Compare(t *testing.T, p Program, truth World, others ...World) {
	t.Helper()
	without := truth.NoIPv6 || slices.ContainsFunc(others, func(w World) bool { return w.NoIPv6 })
	if where := p.setup(); where&ipv6 > 0 && without {
		p = append(Program{{Op: Setup, N: where &^ ipv6}}, p[1:]...)
	}
	want := p.Execute(t, truth)
	for _, w := range others {
		if t.Failed() {
			return // a stack has not come to rest, and would not, again and again
		}
		if got := p.Execute(t, w); !slices.Equal(want.Steps, got.Steps) && !t.Failed() {
			p.report(t, truth, w, p.Go(want, got))
		}
	}
}

// report fails the test with the smallest program that the two worlds differ in; text is what p
// gave.
func (p Program) report(t *testing.T, a, b World, text string) {
	t.Helper()
	small := p.Shrink(func(p Program) bool {
		if t.Failed() {
			return false
		}
		ta, tb := p.Execute(t, a), p.Execute(t, b)
		if slices.Equal(ta.Steps, tb.Steps) {
			return false
		}
		text = p.Go(ta, tb)
		return true
	})
	t.Errorf("%s and %s differ:\n%sfor testdata/fuzz:\ngo test fuzz v1\n[]byte(%+q)", a.Name, b.Name, text, small.Encode())
}

// Shrink takes out steps and makes numbers smaller, for as long as bad says that the program is
// still bad.
func (p Program) Shrink(bad func(Program) bool) Program {
	for {
		before := len(p)
		if p = p.without(bad); len(p) == before {
			return p.smaller(bad)
		}
	}
}

// without takes out halves, quarters, and in the end single steps.
func (p Program) without(bad func(Program) bool) Program {
	for n := len(p) / 2; n > 0; n /= 2 {
		for i := 0; i+n <= len(p); {
			if q := slices.Delete(slices.Clone(p), i, i+n); bad(q) {
				p = q
			} else {
				i += n
			}
		}
	}
	return p
}

func (p Program) smaller(bad func(Program) bool) Program {
	less := map[Op][]int{Read: {0, 1}, Write: {0, 1}, Setup: {ipv6, smallPort, smallClient}}
	for i := range p {
		for _, n := range less[p[i].Op] {
			q := slices.Clone(p)
			q[i].N = n
			if n < p[i].N && bad(q) {
				p = q
				break
			}
		}
	}
	return p
}
