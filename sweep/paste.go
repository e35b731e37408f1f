package sweep

import (
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"example.com/go-sockettest/fixtures"
)

// A paste writes a test of one point that needs no package sweep, as Go.
type paste struct {
	recovers bool     // the operation wants to end the fault
	arm      []string // brings it about
	over     []string // ends it
	bad      bool     // rules and fixtures cannot make it
}

// pasted is such a test; empty if there can be none.
func (s *sweep) pasted(p point) string {
	out := paste{recovers: s.good.Recovers}
	if p.then != nil {
		out.point(s, *p.then)
	}
	out.point(s, p)
	if out.bad {
		return ""
	}
	server, to := s.serverText()
	over, ends := "", ""
	if s.good.Recovers {
		over, ends = "over := func() { "+strings.Join(out.over, "; ")+" }\n", ", over"
	}
	text := fmt.Sprintf(`func %s(t *testing.T) {
sockettest.Bubble(t, func(t *testing.T) {
nw := simnet.New(t)
nw.Latency(%s)
%s
relay := fixtures.Forward{To: %s}
ep := sockettest.Start(t, relay, sockettest.On(nw))
ctx, cancel := context.WithCancel(t.Context())
defer cancel()
%s
%sbegin := time.Now()
failed := use(ctx, ep.Addr(), nw.DialContext%s) // your client
if took := time.Since(begin); took > %s {
t.Errorf("it took %%v, and returned %%v", took, failed)
}
})
}`, pasteName(s.t.Name()+"/"+p.name()), goDuration(s.hop), server, to, strings.Join(out.arm, "\n"), over, ends, goDuration(s.cfg.Limit))
	formatted, err := format.Source([]byte(text))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(formatted))
}

// serverText starts the server, and is its address. Once the test is over the server has its grace.
func (s *sweep) serverText() (server, to string) {
	grace := goDuration(s.cfg.Grace)
	if s.cfg.Server == nil {
		return "t.Cleanup(func() { time.Sleep(" + grace + ") })\nto := sockettest.Start(t, fixture, sockettest.On(nw)) // Config.Fixture", "to.Addr()"
	}
	return `ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
if err != nil {
t.Fatal(err)
}
t.Cleanup(func() { _ = ln.Close(); time.Sleep(` + grace + `) })
go serve(ln) // Config.Server`, "ln.Addr().String()"
}

// point adds what makes one fault.
func (w *paste) point(s *sweep, p point) {
	if p.does != nil {
		w.connect(p)
		return
	}
	do := p.fault.text()
	if w.bad = w.bad || do == ""; w.bad {
		return
	}
	var rules []string
	for i, r := range p.rules(p.fault.Do) {
		if i > 0 {
			do = goCall(r.Do.String())
		}
		if p.conn.Name != "" {
			first := point{conn: connID{p.conn.Name, 1}, place: requesting} // a retry is not in the good conversation
			r = p.unnamed(r, s.good.part(first).Known)
		}
		rules = append(rules, ruleText(r, do))
	}
	if p.conn.Name != "" {
		w.named(p, s.cfg.Names[p.conn.Name], rules)
	} else {
		for _, r := range rules {
			w.rule(r)
		}
	}
	if p.fault.Name == gone.Name {
		w.over = append(w.over, "_ = ep.Become(relay)")
	}
}

// named adds rules for the nth connection that begins with a text.
func (w *paste) named(p point, first string, rules []string) {
	n, which := len(w.arm)+1, "=="
	if p.every {
		which = ">="
	}
	var arms []string
	for _, r := range slices.Backward(rules) { // those of a connection act the other way round
		arm := "c.Arm(" + r + ")"
		if w.recovers {
			arm = fmt.Sprintf("undos%d <- %s", n, arm)
		}
		arms = append(arms, arm)
	}
	w.arm = append(w.arm, fmt.Sprintf("var named%d atomic.Int32", n))
	if w.recovers {
		w.arm = append(w.arm, fmt.Sprintf("undos%d := make(chan func(), 1000)", n))
		w.over = append(w.over, fmt.Sprintf("for len(undos%d) > 0 {\n(<-undos%[1]d)()\n}", n))
	}
	w.rule(fmt.Sprintf("fixtures.Rule{First: %q, Do: fixtures.Call(func(c *fixtures.Conn) {\nif named%d.Add(1) %s %d {\n%s\n}\n})}",
		first, n, which, p.conn.N, strings.Join(arms, "\n")))
}

// connect adds what the address becomes.
func (w *paste) connect(p point) {
	text := map[string]string{
		"refused":    "_ = ep.Become(fixtures.Refused{})",
		"black-hole": "_ = ep.Become(fixtures.BlackHole{})",
		"slow":       "_ = ep.Become(fixtures.SlowHandshake{Delay: " + goDuration(slow) + ", Then: relay})",
	}[p.fault.Name]
	switch {
	case text == "" || p.place != connecting:
		w.bad = true
	case p.conn.N == 1:
		w.arm = append(w.arm, text)
	default:
		w.rule(ruleText(fixtures.Rule{Conn: p.conn.N - 1}, "fixtures.Call(func(*fixtures.Conn) { "+text+" })"))
	}
	w.over = append(w.over, "_ = ep.Become(relay)")
}

// rule adds one, and what takes it back.
func (w *paste) rule(text string) {
	text = "ep.Arm(" + text + ")"
	if w.recovers {
		undo := fmt.Sprintf("undo%d", len(w.arm)+1)
		text, w.over = undo+" := "+text, append(w.over, undo+"()")
	}
	w.arm = append(w.arm, text)
}

// ruleText is a rule as Go.
func ruleText(r fixtures.Rule, do string) string {
	var fields []string
	for _, f := range []struct {
		name string
		n    int
	}{{"Conn", r.Conn}, {"AfterRead", r.AfterRead}, {"AfterWritten", r.AfterWritten}, {"Nth", r.Nth}} {
		if f.n != 0 {
			fields = append(fields, fmt.Sprintf("%s: %d", f.name, f.n))
		}
	}
	for _, f := range []struct {
		name string
		way  fixtures.Way
	}{{"Way", r.Way}, {"Hits", r.Hits}} {
		if f.way != "" {
			fields = append(fields, f.name+": "+map[fixtures.Way]string{fixtures.In: "fixtures.In", fixtures.Out: "fixtures.Out"}[f.way])
		}
	}
	return "fixtures.Rule{" + strings.Join(append(fields, "Do: "+do), ", ") + "}"
}

// text is the effect as Go; empty if it is known to this process alone.
func (f Fault) text() string {
	switch {
	case f.cancelled:
		return "fixtures.Call(func(*fixtures.Conn) { cancel() })"
	case f.Name == gone.Name && f.make != nil:
		return "fixtures.Call(func(*fixtures.Conn) {\n_ = ep.Become(fixtures.Refused{})\nfor _, c := range ep.Conns() {\n_ = c.Reset()\n}\n})"
	case f.make != nil:
		return ""
	}
	return goCall(f.Do.String())
}

var (
	inGo       = regexp.MustCompile(`\d[\d.]*(h|ms|m|s|µs|ns)[\dhmsµn.]*`)
	noNamePart = regexp.MustCompile(`[^\pL\d]+`)
)

// goCall is an effect's own text as Go; empty if that has a function in it.
func goCall(effect string) string {
	if effect == "" || strings.HasPrefix(effect, "Call(") {
		return ""
	}
	return "fixtures." + inGo.ReplaceAllStringFunc(effect, func(text string) string {
		d, err := time.ParseDuration(text)
		if err != nil {
			return text
		}
		return goDuration(d)
	})
}

// goDuration is a duration as Go.
func goDuration(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Second, "Second"}, {time.Millisecond, "Millisecond"}, {time.Microsecond, "Microsecond"}} {
		if d != 0 && d%unit.d == 0 {
			return fmt.Sprintf("%d * time.%s", d/unit.d, unit.name)
		}
	}
	return fmt.Sprint(int64(d))
}

// pasteName is the name of a point in one word.
func pasteName(name string) string {
	var b strings.Builder
	for _, part := range noNamePart.Split(name, -1) {
		for i, r := range part {
			if i == 0 {
				r = unicode.ToUpper(r)
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}
