package sweep

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
)

// A connID says which connection: the nth that is accepted, or the nth of those with a name.
type connID struct {
	Name string // of Config.Names
	N    int
}

func (c connID) String() string {
	switch {
	case c.Name == "":
		return fmt.Sprintf("connection %d", c.N)
	case c.N == 1:
		return "connection " + c.Name
	}
	return fmt.Sprintf("connection %s %d", c.Name, c.N)
}

// path begins the names of points; it is empty for the first connection.
func (c connID) path() string {
	switch {
	case c == connID{N: 1}:
		return ""
	case c.Name == "":
		return fmt.Sprintf("conn_%d/", c.N)
	case c.N == 1:
		return c.Name + "/"
	}
	return fmt.Sprintf("%s_%d/", c.Name, c.N)
}

// compare puts those without a name first.
func (c connID) compare(o connID) int {
	return cmp.Or(strings.Compare(c.Name, o.Name), cmp.Compare(c.N, o.N))
}

// goodName is what a name of a connection looks like, in those of points.
var goodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// mostFirst is how many of its first bytes can name a connection; see [fixtures.Rule].
const mostFirst = 64

// checkNames finds what is wrong with Config.Names.
func checkNames(names map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch first := names[name]; {
		case !goodName.MatchString(name) || slices.Contains(places, name):
			return fmt.Errorf("Config.Names has %q; want a name of letters, digits and dashes, and none of %q", name, places)
		case first == "" || len(first) > mostFirst:
			return fmt.Errorf("Config.Names[%q] has %d bytes; want some of the first %d that the client sends", name, len(first), mostFirst)
		}
	}
	return nil
}

// byLength lists the names, that with the most bytes first: it wins where two fit.
func byLength(names map[string]string) []string {
	return slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(len(names[b])-len(names[a]), strings.Compare(a, b))
	})
}

// naming is the text in the events of rules that find names; no other rule has First.
const naming = "Call(f) at First "

// start starts the tap. It gives connections their names when the bytes come, before these go on.
func (t *tap) start(ctx context.Context, nw *simnet.Network, to string, names map[string]string) (*fixtures.Endpoint, error) {
	t.nw, t.to = nw, to
	ep, err := fixtures.Start(ctx, t, fixtures.Place{Stack: nw})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(byLength(names)) { // the latest rule acts first
		ep.Arm(fixtures.Rule{First: names[name], Do: fixtures.Call(func(c *fixtures.Conn) { t.identify(name, c) })})
	}
	return ep, nil
}

// identify gives a connection a name, unless it has one.
func (t *tap) identify(name string, c *fixtures.Conn) {
	n := 1
	t.mu.Lock()
	for _, s := range t.conns {
		if s.ID.Name == name {
			n++
		}
	}
	var is stream
	t.noteLocked(c.ID(), func(s *stream) {
		if s.ID.Name != "" {
			return
		}
		s.ID = connID{name, n}
		_, sent := c.Bytes()
		s.Request.Known, s.Answer.Known = len(s.Request.Bytes), int(sent)
		is = *s
	})
	list := slices.Clone(t.onName)
	t.mu.Unlock()
	for _, f := range list {
		if is.ID.Name != "" {
			f(c, is)
		}
	}
}

// named has f called when a connection gets its name.
func (t *tap) named(f func(*fixtures.Conn, stream)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onName = append(t.onName, f)
}

// arm puts the point's connection under its rules.
func (p point) arm(a arena, rules []fixtures.Rule) (undo func()) {
	var mu sync.Mutex
	var undos []func()
	if p.conn.Name == "" {
		for _, r := range rules {
			undos = append(undos, a.ep.Arm(r))
		}
	} else {
		a.tap.named(func(c *fixtures.Conn, s stream) {
			if s.ID != p.conn && !(p.every && s.ID.Name == p.conn.Name && s.ID.N > p.conn.N) {
				return
			}
			for _, r := range slices.Backward(rules) { // those of a connection act the other way round
				u := c.Arm(p.unnamed(r, s.Request.Known))
				mu.Lock()
				undos = append(undos, u)
				mu.Unlock()
			}
		})
	}
	return func() {
		mu.Lock()
		list := slices.Clone(undos)
		mu.Unlock()
		for _, u := range list {
			u()
		}
	}
}

// unnamed is a rule for the connection itself, once it has its name.
func (p point) unnamed(r fixtures.Rule, known int) fixtures.Rule {
	if r.Conn = 0; p.place == requesting && p.at == known {
		r.Nth, r.AfterRead = 0, 0 // it is here
	}
	return r
}

// cameTo reports whether a fault came about, of a pair both. A connect has if it was dialled.
func (r *run) cameTo(p point, ep *fixtures.Endpoint, contact bool, dials int64) bool {
	switch {
	case p.then != nil && !r.cameTo(*p.then, ep, contact, dials):
		return false
	case p.place == lookingUp:
		_, fired := r.names.lookups()
		return fired
	case p.does != nil:
		return contact && dials >= int64(p.conn.N)
	case r.point.then == nil && p.conn.Name == "":
		return ep.Count(fixtures.RuleFired) > 0
	}
	n := r.tap.number(p.conn)
	return slices.ContainsFunc(ep.Events(), func(e fixtures.Event) bool {
		return e.Kind == fixtures.RuleFired && !isNaming(e) && (p.every || e.Conn == n)
	})
}

// number is how many connections were accepted up to this one; 0 if it has not come.
func (t *tap) number(conn connID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return 1 + slices.IndexFunc(t.conns, func(s stream) bool { return s.ID == conn })
}

// isNaming reports whether an event is about a rule that finds names.
func isNaming(e fixtures.Event) bool { return strings.Contains(e.Note, naming) }
