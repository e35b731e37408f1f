package sockettest

import (
	"errors"
	"fmt"
	"math"
	"net"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/story"
)

// A Backoff is what [Window.Retrying] wants of a client that connects again and again. A pause
// lasts from the beginning of one attempt to the beginning of the next. The first is First, each
// later one is Grows times the one before, and none is longer than Cap; a pause may differ from
// that by up to Jitter of itself. A field that is 0 is not judged.
//
// In a bubble pauses are judged to the millisecond. Elsewhere they may be shorter or longer by
// [Window.Slack] and what a busy machine excuses.
type Backoff struct {
	Attempts int           // the number of connects, exactly
	First    time.Duration // the first pause
	Grows    float64       // each pause divided by the one before, 1 or more; 1 means that all are the same
	Cap      time.Duration // the longest pause, before jitter
	Jitter   float64       // a part, up to 1: 0.2 allows pauses 20% shorter or longer; in a bubble some must differ
	Crowd    int           // the most connects in any second, of all clients together
}

// Retrying requires that the client connects again and again while the operation runs, as b says.
// Clients are told apart by IP address, and each is judged by itself: give clients on a simnet
// hosts of their own. For clients that share an address only Attempts and Crowd have a meaning. To
// judge a client that never stops, want [Blocked].For(d).
//
//	sockettest.Accepted.At(63*time.Second).Retrying(sockettest.Backoff{First: time.Second, Grows: 2, Cap: time.Minute})
//
// Retries on a connection that is kept open are no attempts. Where attempts are not seen, as those
// at a [fixtures.Refused] of the kernel, Expect says so and fails; see
// [fixtures.Endpoint.Attempts].
func (w Window) Retrying(b Backoff) Window {
	if err := b.check(); err != nil && w.bad == nil {
		w.bad = err
	}
	w.retry = b
	return w
}

// Retrying wants the outcome, and attempts to connect as b says; see [Window.Retrying].
func (o Outcome) Retrying(b Backoff) Window { return o.window().Retrying(b) }

// check finds the fields that no client can obey.
func (b Backoff) check() error {
	switch {
	case b == Backoff{}:
		return errors.New("Backoff{} judges nothing; want Attempts, First, Grows, Cap, Jitter or Crowd")
	case b.Attempts < 0:
		return fmt.Errorf("Backoff.Attempts is %d; want 0 (not judged) or more", b.Attempts)
	case b.First < 0:
		return fmt.Errorf("Backoff.First is %v; want 0 (not judged) or more", b.First)
	case b.Grows != 0 && !(b.Grows >= 1 && b.Grows <= math.MaxInt64):
		return fmt.Errorf("Backoff.Grows is %v; want 0 (not judged), or 1 or more", b.Grows)
	case b.Cap < 0:
		return fmt.Errorf("Backoff.Cap is %v; want 0 (not judged) or more", b.Cap)
	case b.Cap > 0 && b.Cap < b.First:
		return fmt.Errorf("Backoff.Cap is %v, and Backoff.First is %v; want no less than that", b.Cap, b.First)
	case !(b.Jitter >= 0 && b.Jitter <= 1):
		return fmt.Errorf("Backoff.Jitter is %v; want 0 (none) to 1 (from no pause to one twice as long)", b.Jitter)
	case b.Crowd < 0:
		return fmt.Errorf("Backoff.Crowd is %d; want 0 (not judged) or more", b.Crowd)
	case b.Attempts > 0 && b.Attempts < b.least():
		return fmt.Errorf("Backoff.Attempts is %d, and the pauses wanted show with %d; want %d or more", b.Attempts, b.least(), b.least())
	}
	return nil
}

// least is with how many attempts what is wanted shows.
func (b Backoff) least() int {
	switch {
	case b.Jitter > 0, b.Grows > 0 && b.First == 0:
		return 3
	case b.First > 0, b.Grows > 0, b.Cap > 0:
		return 2
	}
	return 1
}

// String writes what is wanted.
func (b Backoff) String() string {
	var parts []string
	add := func(set bool, format string, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(b.Attempts > 0, "%d attempts", b.Attempts)
	add(b.First > 0, "a first pause of %v", b.First)
	add(b.Grows == 1, "pauses that are the same")
	add(b.Grows > 1, "pauses that grow by a factor of %v", b.Grows)
	add(b.Cap > 0, "pauses up to %v", b.Cap)
	add(b.Jitter > 0, "jitter of %v%%", math.Round(b.Jitter*1000)/10)
	add(b.Crowd > 0, "at most %d in a second", b.Crowd)
	return strings.Join(parts, ", ")
}

// judge finds fault with attempts. Each may have been seen too late by up to slack or, by all that
// was measured, by late.
func (b Backoff) judge(all []fixtures.Attempt, slack, late time.Duration) error {
	at, clients := []time.Duration{}, map[string][]time.Duration{}
	for _, a := range all {
		host, _, _ := net.SplitHostPort(textOf(a.From))
		at, clients[host] = append(at, a.At), append(clients[host], a.At)
	}
	if b.Attempts > 0 && len(at) != b.Attempts {
		return fmt.Errorf("%s, want %d", plural(len(at), "attempt"), b.Attempts)
	}
	for i := range at[min(b.Crowd, len(at)):] {
		if span := at[i+b.Crowd] - at[i]; b.Crowd > 0 && span < time.Second-late {
			return fmt.Errorf("%d attempts within %s, want at most %d in a second", b.Crowd+1, digits(span), b.Crowd)
		}
	}
	if len(clients) == 0 {
		clients[""] = nil
	}
	for host, list := range clients {
		err := b.judgeClient(list, sum(slack, late))
		switch {
		case err != nil && len(clients) > 1:
			return fmt.Errorf("client %s: %w", host, err)
		case err != nil:
			return err
		}
	}
	return nil
}

// judgeClient finds fault with the pauses of one client.
func (b Backoff) judgeClient(at []time.Duration, slack time.Duration) error {
	if len(at) < b.least() {
		return fmt.Errorf("%s, want %d or more", plural(len(at), "attempt"), b.least())
	}
	slack += time.Millisecond
	first, grows, most := float64(b.First), max(b.Grows, 1), float64(b.Cap)
	if b.Cap == 0 {
		most = math.Inf(1)
	}
	if b.First == 0 {
		first = float64(at[min(1, len(at)-1)] - at[0])
	}
	var parts []float64 // of what it should have been each pause is
	for i := range at[1:] {
		pause, power := float64(at[i+1]-at[i]), math.Pow(grows, float64(i))
		low, high, tolerance := first, first, float64(slack)
		if b.First == 0 { // it was measured, and has its own jitter
			low, high, tolerance = first/(1+b.Jitter), first/(1-b.Jitter), tolerance*(1+power)
		}
		if i > 0 && b.Grows == 0 || first == 0 && b.First == 0 {
			low, high = 0, math.Inf(1)
		}
		low, high = (1-b.Jitter)*min(low*power, most), (1+b.Jitter)*min(high*power, most)
		if pause < low-tolerance || pause > high+tolerance {
			return fmt.Errorf("pause %d was %s, want %s", i+1, digits(time.Duration(pause)), between(low, high))
		}
		parts = append(parts, pause/min(first*power, most))
	}
	if b.Jitter > 0 && virtual() && slices.Max(parts)-slices.Min(parts) < 1e-6 { // in real time each timer has some
		return fmt.Errorf("no jitter: each of %s is the same part of what it should be", plural(len(parts), "pause"))
	}
	return nil
}

// between writes from what to what.
func between(low, high float64) string {
	whole := func(d float64) time.Duration { return time.Duration(min(d, math.MaxInt64/2)).Round(time.Microsecond) }
	switch {
	case math.IsInf(high, 1):
		return whole(low).String() + " or more"
	case whole(low) == whole(high):
		return whole(low).String()
	}
	return fmt.Sprintf("%v to %v", whole(low), whole(high))
}

// counting is a fixture that knows when clients connected.
type counting interface {
	Attempts() ([]fixtures.Attempt, error)
}

// countable begins to count attempts, and returns how many there were; or why the fixture cannot
// tell.
func countable(ep Running) (before int, err error) {
	c, ok := ep.(counting)
	if !ok {
		return 0, fmt.Errorf("Retrying at %v, which counts no connects; want the Endpoint or DualEndpoint of a fixture that clients connect to", ep)
	}
	all, err := c.Attempts()
	return len(all), err
}

// attemptsOf returns the attempts since an operation began.
func (w Window) attemptsOf(ep Running, start time.Time) []fixtures.Attempt {
	since := []fixtures.Attempt{}
	c, ok := ep.(counting)
	if !ok {
		return since
	}
	all, _ := c.Attempts()
	for _, a := range all[min(w.tried, len(all)):] {
		if a.At -= start.Sub(ep.Started()); a.At >= 0 { // else it was accepted late
			since = append(since, a)
		}
	}
	return since
}

// judgeRetries finds fault with the attempts of an operation. What it did last may be seen a moment
// later.
func (w Window) judgeRetries(res *Result, ep Running, start time.Time) error {
	slack, _ := w.allowed()
	err := w.retry.judge(res.attempts, slack, res.shaken)
	for h := hopeFor(signPatience, res.reach.seen.Kernel); err != nil && res.Outcome != Blocked && !res.reach.seen.Exact && h.lasts(); {
		res.attempts = w.attemptsOf(ep, start)
		err = w.retry.judge(res.attempts, slack, res.shaken)
	}
	if err != nil {
		return fmt.Errorf("retries: %w", err)
	}
	return nil
}

// A matcher is the target of a want that no single error is.
type matcher struct {
	what     string
	found    func(err error) bool
	compared func(err error) string // what was compared, and with what result
}

func (m *matcher) Error() string { return m.what }

// ErrorAs wants an error of type E for which holds returns true, found in the chain as [errors.As]
// finds one. The report shows the errors of type E for which it does not.
//
//	sockettest.ErrorAs(func(e *pq.Error) bool { return e.Code == "57014" }).Before(time.Second)
func ErrorAs[E error](holds func(E) bool) Window {
	if holds == nil {
		return Window{target: &matcher{what: "no error"}, bad: errors.New("ErrorAs(nil): want a function such as func(e *net.OpError) bool")}
	}
	name := reflect.TypeFor[E]().String()
	m := &matcher{what: name + " for which the function holds"}
	m.found = func(err error) (found bool) {
		eachAs(err, func(e E) bool {
			safely(func() { found = holds(e) })
			return found
		})
		return found
	}
	m.compared = func(err error) string {
		text := ""
		eachAs(err, func(e E) bool {
			text = fmt.Sprintf("the function does not hold for the %s that says %s", name, inShort(e))
			return false
		})
		if text == "" {
			return "no " + name + " is in the chain"
		}
		return text
	}
	return Window{target: m}
}

// eachAs calls f for each error of type E in a tree, until f returns true.
func eachAs[E error](err error, f func(E) bool) {
	left := maxErrors
	var walk func(err error, depth int) bool
	walk = func(err error, depth int) bool {
		if left--; err == nil || depth == 0 || left < 0 {
			return false
		}
		if e, ok := asItself[E](err); ok && f(e) {
			return true
		}
		for _, inner := range unwrap(err) {
			if left < 0 || walk(inner, depth-1) {
				return true
			}
		}
		return false
	}
	walk(err, maxDepth)
}

// asItself is [errors.As] without what err wraps.
func asItself[E error](err error) (e E, ok bool) {
	if e, ok = err.(E); ok {
		return e, true
	}
	if as, can := err.(interface{ As(any) bool }); can {
		safely(func() { ok = as.As(&e) })
	}
	return e, ok
}

// ErrorValue wants an error for which of returns want: for errors that a function tells apart, by
// the status of an RPC, by a code, or by whether they are temporary. of is called with nil if the
// operation succeeded, and may be called several times. The report shows what it returned.
//
//	sockettest.ErrorValue(status.Code, codes.DeadlineExceeded).After(time.Second) // gRPC
//	sockettest.ErrorValue(client.IsRetryable, true)
func ErrorValue[T comparable](of func(error) T, want T) Window {
	if of == nil {
		return Window{target: &matcher{what: "no error"}, bad: errors.New("ErrorValue(nil): want a function such as status.Code")}
	}
	name := funcName(of)
	value := func(err error) (v T, ok bool) {
		ok = safely(func() { v = of(err) })
		return v, ok
	}
	m := &matcher{what: fmt.Sprintf("%s(err) = %s", name, valueText(want))}
	m.found = func(err error) (found bool) {
		safely(func() { v, ok := value(err); found = ok && v == want })
		return found
	}
	m.compared = func(err error) string {
		v, ok := value(err)
		if !ok {
			return name + "(err) panics"
		}
		return fmt.Sprintf("%s(err) = %s", name, valueText(v))
	}
	return Window{target: m}
}

// valueText writes a value by its own String method, if it has one, in short.
func valueText(v any) string {
	text := fmt.Sprintf("%v", v)
	if _, ok := v.(string); ok {
		text = fmt.Sprintf("%q", v)
	}
	return story.Printable(strings.ReplaceAll(text, "\n", " "), keepShort)
}

// funcName names a function as code of another package does.
func funcName(f any) string {
	if fn := runtime.FuncForPC(reflect.ValueOf(f).Pointer()); fn != nil {
		return strings.TrimSuffix(strings.TrimSuffix(path.Base(fn.Name()), "[...]"), "-fm")
	}
	return "the function"
}

// compared says what a want of a family of errors was compared with; empty for other wants.
func (w Window) compared(r Result) string {
	m, ok := w.target.(*matcher)
	if !ok || r.Outcome == Blocked || m.compared == nil {
		return ""
	}
	return m.compared(r.Err)
}

// A Release is how an operation that is still blocked is made to return; see [Window.LetGo].
type Release int

// The ways to let an operation go.
const (
	ByContext Release = iota + 1 // its context is cancelled
	ByClose                      // the fixture is closed
	ByFIN                        // the fixture sends FIN on each open connection, and goes on
	ByRST                        // the fixture resets each open connection, and goes on
)

var releaseNames = [...]string{ByContext: "its context", ByClose: "the fixture's end", ByFIN: "FIN", ByRST: "RST"}

// String names the release as failure reports do.
func (r Release) String() string {
	if r > 0 && int(r) < len(releaseNames) {
		return releaseNames[r]
	}
	return "no release"
}

// LetGo chooses how an operation that [Blocked].For(d) wants is released after d, and requires that
// it then returns; [Result.Then] is how it ended. Without LetGo its context is cancelled and, if
// that is not enough, the fixture closed.
//
//	r := sockettest.Expect(t, ep, sockettest.Blocked.For(time.Second).LetGo(sockettest.ByRST), client.Read)
//	err := sockettest.ResetByPeer.AtOnce().Check(*r.Then)
func (w Window) LetGo(by Release) Window {
	switch {
	case w.bad != nil:
	case by < ByContext || by > ByRST:
		w.bad = fmt.Errorf("LetGo(%d): want ByContext, ByClose, ByFIN or ByRST", by)
	case w.outcome != Blocked:
		w.bad = fmt.Errorf("%s.LetGo: only what is Blocked is let go; want Blocked.For(d).LetGo(%v)", w.what(), by)
	}
	w.letGo = by
	return w
}

// releasable finds what cannot let an operation at the fixture go.
func (w Window) releasable(ep Running, cancelable bool) error {
	switch {
	case w.letGo == ByContext && !cancelable:
		return fmt.Errorf("LetGo(ByContext) of an operation without a context; want a func(context.Context) error")
	case w.letGo >= ByFIN && !slices.ContainsFunc(partsOf(ep), func(c connected) bool { return c != nil }):
		return fmt.Errorf("LetGo(By%v) at %v, which has no connections; want ByContext or ByClose", w.letGo, ep)
	}
	return nil
}

// releaseBy lets the operation go as wanted, and reports whether it returned.
func (r *run) releaseBy(ep Running, elapsed time.Duration, end time.Time) bool {
	begun, within, did := time.Now(), contextGrace, ""
	switch r.want.letGo {
	case ByContext:
		r.cancel()
		did = "its context was cancelled"
	case ByClose:
		within = sum(2*time.Second, elapsed)
		did = "the fixture was closed" + r.of.usage.close(ep, r)
	case ByFIN:
		did = endAll(ep, "FIN was sent", (*fixtures.Conn).CloseWrite)
	case ByRST:
		did = endAll(ep, "RST was sent", (*fixtures.Conn).Reset)
	}
	if r.returns(within, end, r.lateSince) {
		r.howReleased = fmt.Sprintf("it returned %s after %s", digits(time.Since(begun)), did)
		return true
	}
	r.howReleased = fmt.Sprintf("%s, and it did not return for %s", did, digits(time.Since(begun)))
	return false
}

// endAll ends all connections that are open, and says what was done on which.
func endAll(ep Running, what string, do func(*fixtures.Conn) error) string {
	var names []string
	for _, part := range partsOf(ep) {
		if part == nil {
			continue
		}
		for _, c := range part.Conns() {
			if end, _ := c.PeerEnd(); end != fixtures.RST && do(c) == nil { // a client that has sent FIN may still read
				names = append(names, fmt.Sprintf("#%d", c.ID()))
			}
		}
	}
	if len(names) == 0 {
		return "no connection was open on which " + what
	}
	if more := len(names) - keepSockets; more > 0 {
		names = append(names[:keepSockets], fmt.Sprintf("%d more", more))
	}
	return what + " on " + strings.Join(names, ", ")
}
