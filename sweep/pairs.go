package sweep

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var seed = flag.Uint64("sweep.seed", 1, "draws the pairs of faults, and the bytes where there are too many")

// thenWord is between the two faults of a pair in its name.
const thenWord = "/then/"

// A retry is the connection behind the one that the fault struck.
type retry struct {
	ID              connID
	Request, Answer [2]int // from where it has its name, to where it ends
}

// retry reports whether there were more connections than without a fault, and finds the one behind
// the point's.
func (t *tap) retry(p point, good int) (retried bool, r retry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := connID{p.conn.Name, p.conn.N + 1}
	for _, s := range t.conns {
		if s.ID == next {
			r = retry{next, [2]int{s.Request.Known, len(s.Request.Bytes)}, [2]int{s.Answer.Known, len(s.Answer.Bytes)}}
		}
	}
	return len(t.conns) > good, r
}

// pairs draws second faults, of another kind, for operations that tried again.
func (s *sweep) pairs(results []result) (list []point) {
	var first []result
	for _, r := range results {
		if p := r.point; r.Retried && r.Next.ID.N > 0 && !r.Frozen && !p.every && p.fault.Name != gone.Name && p.harder() != nil {
			first = append(first, r)
		}
	}
	var second []Fault
	for _, f := range s.faults() {
		if !f.closes && !f.Harmless {
			second = append(second, f)
		}
	}
	dice := rand.New(rand.NewPCG(*seed, 2))
	drawn := map[string]bool{}
	for range 4 * s.mostPairs() {
		if len(first) == 0 || len(list) == s.mostPairs() {
			break
		}
		p := drawPair(first[dice.IntN(len(first))], second, dice)
		if name := p.name(); p.then.fault.Name != p.fault.Name && !drawn[name] {
			drawn[name], list = true, append(list, p)
		}
	}
	return list
}

// drawPair draws a place on the retry: one in eight is its connect. All are where nothing passes.
func drawPair(r result, faults []Fault, dice *rand.Rand) point {
	p, next := r.point, r.Next
	connects := connects(connID{N: next.ID.N})
	then := connects[dice.IntN(len(connects))]
	silent := next.Request[1]+next.Answer[1] == 0
	if !silent && (next.ID.Name != "" || dice.IntN(8) > 0) {
		then = point{conn: next.ID, place: requesting, fault: faults[dice.IntN(len(faults))]}
		span := next.Request
		if n := next.Request[1] - next.Request[0] + 1; dice.IntN(n+next.Answer[1]-next.Answer[0]+1) >= n {
			then.place, span = answering, next.Answer
		}
		then.at = span[0] + dice.IntN(max(0, span[1]-span[0])+1)
	}
	p.then = &then
	return p
}

// mostPairs is how many pairs there are at most.
func (s *sweep) mostPairs() int {
	if s.cfg.Pairs != 0 {
		return max(0, s.cfg.Pairs)
	}
	return s.most() / 10
}

// tryPairs tries pairs, and takes out what one of the two faults comes to alone.
func (s *sweep) tryPairs(results []result) []result {
	s.t.Helper()
	alone := map[string]result{}
	for _, r := range results {
		alone[r.point.name()] = r
	}
	list := s.all(s.pairs(results))
	w := &worker{sweep: s}
	defer w.end()
	for i := range list {
		r := &list[i]
		first := r.point
		first.then = nil
		for _, p := range append(first.harder(), first, moved(*r.point.then, first.conn)) {
			r.Found = slices.DeleteFunc(r.Found, func(v violation) bool {
				simple, known := alone[p.name()]
				if !known {
					simple = w.one(p, false)
					alone[p.name()] = simple
				}
				return simple.is(v.Kind)
			})
		}
	}
	return list
}

// moved is the second fault of a pair where the first one was.
func moved(p point, to connID) point {
	if p.does == nil {
		p.conn = to
		return p
	}
	for _, c := range connects(to) {
		if c.fault.Name == p.fault.Name {
			return c
		}
	}
	return p
}

// pairNamed finds the pair that -run names; nil if it names none.
func (s *sweep) pairNamed(points []point, run string) *point {
	parts := strings.Split(run, "/")
	for i, part := range parts {
		parts[i] = unquote(strings.TrimSuffix(strings.TrimPrefix(part, "^"), "$"))
	}
	name := strings.Join(parts[min(len(parts), strings.Count(s.t.Name(), "/")+1):], "/")
	first, second, ok := strings.Cut(name, thenWord)
	i := slices.IndexFunc(points, func(p point) bool { return p.name() == first })
	then := s.pointNamed(second)
	if !ok || i < 0 || then == nil {
		return nil
	}
	p := points[i]
	p.then = then
	return &p
}

// unquote takes back what regexp.QuoteMeta has done.
func unquote(s string) string { return quotedByte.ReplaceAllString(s, "$1") }

var quotedByte = regexp.MustCompile(`\\(.)`)

// pointName is the form of a point's name: connection, place, byte and fault.
var pointName = regexp.MustCompile(`^(?:(conn|[A-Za-z][A-Za-z0-9-]*?)(?:_(\d+))?/)??(connect|request|answer)(?:/byte_(\d+))?/([^/]+)$`)

// pointNamed is the point of a name, whether or not the good conversation has it; nil if there is
// no such fault.
func (s *sweep) pointNamed(name string) *point {
	m := pointName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	p := point{conn: connID{Name: m[1], N: 1}, place: m[3]}
	if p.conn.Name == "conn" {
		p.conn.Name = ""
	}
	if n, err := strconv.Atoi(m[2]); err == nil {
		p.conn.N = n
	}
	if at, err := strconv.Atoi(m[4]); err == nil {
		p.at = at
	}
	for _, c := range connects(p.conn) {
		if p.place == connecting && c.fault.Name == m[5] {
			return &c
		}
	}
	i := slices.IndexFunc(s.cfg.Faults, func(f Fault) bool { return f.Name == m[5] })
	if i < 0 || p.place == connecting {
		return nil
	}
	p.fault = s.cfg.Faults[i]
	return &p
}
