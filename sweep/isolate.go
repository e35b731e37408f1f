package sweep

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var isolate = flag.Bool("sweep.isolate", false, "have the conversations of sweeps in processes of their own, so that one that crashes does not end the sweep")

// jobVar tells a child what it is for: a token, and the call of Run.
const jobVar = "SOCKETTEST_SWEEP"

// What a process knows from its start. Its own children, and what the test does, change nothing.
var (
	home, _ = os.Getwd()
	answers = os.Stdout
	job     = func() string {
		defer os.Unsetenv(jobVar)
		return os.Getenv(jobVar)
	}()
)

// calls counts those of Run in each test, by which a child knows its own.
var calls = struct {
	sync.Mutex
	n map[any]int
}{n: map[any]int{}}

// An isolation is what a sweep knows of its children.
type isolation struct {
	on   bool
	call string                 // of Run
	why  atomic.Pointer[string] // each conversation has a process of its own; nil if not
}

// mostDeadOfChild is a few: stacks of all goroutines take longer the more there are.
const mostDeadOfChild = 30

// begins finds out which call of Run this is. In a child it does what the parent orders, and does
// not return. It reports whether this call is to be passed over, since the child is for another.
func (s *sweep) begins(isolate bool) (passed bool) {
	calls.Lock()
	if calls.n[s.t]++; calls.n[s.t] == 1 {
		s.t.Cleanup(func() {
			calls.Lock()
			defer calls.Unlock()
			delete(calls.n, s.t)
		})
	}
	s.on, s.call = isolate, fmt.Sprintf("%d %s", calls.n[s.t], s.t.Name())
	calls.Unlock()
	if job == "" {
		return false
	}
	token, name, _ := strings.Cut(job, " ")
	if name != s.call {
		return true
	}
	s.on = false
	showLabels()
	s.obey(os.Stdin, answers, token)
	s.t.SkipNow()
	return true
}

// An order is for a child: to have a conversation, or to end if it has no name.
type order struct {
	Point string
	Full  bool
	Hop   time.Duration
	Good  *conversation `json:",omitempty"` // in the first of each child, once it is known
}

// obey does what the parent orders, until that is to end. If the parent is gone it ends the
// process.
func (s *sweep) obey(in io.Reader, out io.Writer, token string) {
	orders := make(chan order)
	go func() {
		for d := json.NewDecoder(in); ; {
			var o order
			if d.Decode(&o) != nil {
				os.Exit(2)
			}
			orders <- o
		}
	}()
	say := func(a answer) {
		b, err := json.Marshal(a)
		if err != nil {
			panic(err) // it has only strings and numbers
		}
		_, _ = fmt.Fprintf(out, "\n%s%s\n", token, b) // a parent that is gone is noticed in obey
	}
	say(answer{})
	for o := range orders {
		if o.Point == "" {
			return
		}
		if s.hop = o.Hop; o.Good != nil {
			s.good = *o.Good
		}
		r := result{broken: fmt.Errorf("the process does not know the point %s", o.Point)}
		if p, ok := s.find(o.Point); ok {
			r = s.thaw(s.watched(s.run(p, o.Full)))
		}
		if s.t.Failed() && !r.is(wrong) {
			r.Found = append(r.Found, violation{wrong, "it failed the test by itself: give assertions the *sweep.Case, not the test"})
		}
		say(answerOf(r, s.t.Failed()))
	}
}

// find is the point of this name.
func (s *sweep) find(name string) (point, bool) {
	name, second, isPair := strings.Cut(name, thenWord)
	for _, whole := range []bool{false, true} {
		if s.names[name].place == "" && name != (point{}).name() {
			s.names = map[string]point{}
			for _, p := range s.points(whole) {
				for _, p := range append(p.harder(), p) {
					s.names[p.name()] = p
				}
			}
		}
	}
	p, ok := s.names[name]
	if p.then = s.pointNamed(second); isPair && p.then == nil {
		return p, false
	}
	return p, ok || name == p.name()
}

// A worker has conversations, one after the other: in this process, or in a child.
type worker struct {
	*sweep
	child *child // nil until there is one
}

// one has a conversation on its own.
func (s *sweep) one(p point, full bool) result {
	w := &worker{sweep: s}
	defer w.end()
	return w.one(p, full)
}

// one has a conversation, and judges it in real time if the clock stood still.
func (w *worker) one(p point, full bool) result { return w.thaw(w.have(p, full)) }

// have has a conversation.
func (w *worker) have(p point, full bool) result {
	if !w.on {
		return w.watched(w.run(p, full))
	}
	if w.child != nil && (w.child.dead >= mostDeadOfChild || w.why.Load() != nil) {
		w.end()
	}
	fresh := w.child == nil
	r := w.ask(p, full)
	if why := r.shares(); why != "" && !fresh {
		w.end()
		w.why.CompareAndSwap(nil, &why)
		r = w.ask(p, full)
	}
	return r
}

// end ends the child, if there is one.
func (w *worker) end() {
	if w.child != nil {
		w.child.end()
		w.child = nil
	}
}

// ask has a conversation in the child. If it ends the child, it is the conversation that crashes.
func (w *worker) ask(p point, full bool) result {
	if w.child == nil {
		c, err := w.startChild()
		if err != nil {
			return result{point: p, Fired: true, crashed: true, GoesOn: true, Found: []violation{{crashes, err.Error()}}}
		}
		w.child = c
	}
	c := w.child
	o := order{Point: p.name(), Full: full, Hop: w.hop}
	if !c.knows && p.place != "" {
		o.Good, c.knows = &w.good, true
	}
	stalled := time.AfterFunc(3*busy+2*w.cfg.Limit, c.kill) // its own watch has failed by then
	defer stalled.Stop()
	a, err := c.talk(o)
	if err != nil {
		w.child = nil
		return result{point: p, Fired: true, crashed: true, GoesOn: true, Found: []violation{{crashes, c.last()}}, Stacks: c.stacks()}
	}
	r := a.result(p)
	if r.Dead || r.Frozen {
		c.dead++
	}
	if r.Busy || a.Failed {
		c.kill()
		w.end()
	}
	if a.Failed {
		r.Stacks = cmp.Or(r.Stacks, strings.TrimSpace(c.says.text()))
	}
	return r
}

// shares says what a conversation found that earlier ones in its process have left: a channel, a
// timer or a WaitGroup of another bubble.
func (r result) shares() string {
	for _, v := range r.Found {
		if strings.Contains(v.Text, "synctest") {
			return v.Text
		}
	}
	return ""
}

// A child is the test's binary that runs this test alone, to have conversations.
type child struct {
	cmd    *exec.Cmd
	orders *json.Encoder
	out    *bufio.Reader
	token  string
	says   ending // whatever else it writes
	dir    string
	knows  bool // the good conversation
	dead   int  // conversations that left goroutines behind
	err    error
}

// startChild starts one, and waits until it has come to this call of Run.
func (s *sweep) startChild() (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{token: rand.Text()}
	if c.dir, err = os.MkdirTemp("", "sweep"); err != nil {
		return nil, err
	}
	c.cmd = exec.Command(exe, s.childArgs()...)
	c.cmd.Dir, c.cmd.Stderr, c.cmd.WaitDelay = home, &c.says, time.Second
	c.cmd.Env = append(os.Environ(), jobVar+"="+c.token+" "+s.call, "TMPDIR="+c.dir, "TMP="+c.dir, "TEMP="+c.dir,
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // the race detector sleeps for a second at the end
	in, err := c.cmd.StdinPipe()
	out, w := io.Pipe()
	c.cmd.Stdout = w
	if err := errors.Join(err, c.cmd.Start()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	c.orders, c.out = json.NewEncoder(in), bufio.NewReader(out)
	go func() {
		c.err = c.cmd.Wait()
		_ = w.Close() // which cannot fail
	}()
	if _, err := c.hear(); err != nil {
		return nil, fmt.Errorf("a process of its own did not come to this call of sweep.Run, and ended with %w\n%s", c.err, c.says.text())
	}
	return c, nil
}

// childArgs are those of this process, but for what the child is not to do: the last of two counts.
func (s *sweep) childArgs() []string {
	timeout := time.Duration(0)
	if end, ok := s.t.Deadline(); ok {
		timeout = max(time.Until(end), time.Second)
	}
	args := os.Args[1 : len(os.Args)-flag.NArg()]
	return slices.Concat(args, []string{
		"-test.run=" + exactly(s.t.Name()), "-test.timeout=" + timeout.String(), fmt.Sprintf("-test.cpu=%d", runtime.GOMAXPROCS(0)),
		"-test.skip=", "-test.bench=", "-test.fuzz=", "-test.list=", "-test.count=1", "-test.v=false", "-test.shuffle=off", "-test.artifacts=false",
		"-test.coverprofile=", "-test.cpuprofile=", "-test.memprofile=", "-test.blockprofile=", "-test.mutexprofile=", "-test.trace=",
		"-test.testlogfile=", "-test.paniconexit0=false",
	}, flag.Args())
}

// talk gives an order, and waits for the answer.
func (c *child) talk(o order) (answer, error) {
	_ = c.orders.Encode(o) // if it has ended, so have its answers
	return c.hear()
}

// hear reads up to the next answer. If there is none the child is gone.
func (c *child) hear() (a answer, err error) {
	for err == nil {
		var line string
		if line, err = c.out.ReadString('\n'); err == nil && strings.HasPrefix(line, c.token) {
			return a, json.Unmarshal([]byte(line[len(c.token):]), &a)
		}
		_, _ = c.says.Write([]byte(line))
	}
	c.wait()
	return a, err
}

// end has the child end in its own way, as it must for coverage, or kills it.
func (c *child) end() {
	slow := time.AfterFunc(slack, c.kill)
	defer slow.Stop()
	_ = c.orders.Encode(order{}) // or it has ended
	c.wait()
}

func (c *child) kill() { _ = c.cmd.Process.Kill() } // or it has ended

// wait waits until it has ended.
func (c *child) wait() {
	_, _ = io.Copy(&c.says, c.out)
	_ = os.RemoveAll(c.dir) // what is left is in the system's directory for such files
}

// isCrash finds what the runtime says of one.
var isCrash = regexp.MustCompile(`(?m)^(panic|fatal error): .*`)

// last is the reason for the end.
func (c *child) last() string {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	if line := isCrash.FindString(c.says.text()); line != "" {
		return "the process ended with " + line
	}
	return "the process ended with " + how
}

// stacks are that of the goroutine which ended it, or the last lines that it wrote.
func (c *child) stacks() string {
	text := strings.TrimSpace(c.says.text())
	if at := isCrash.FindStringIndex(text); at != nil {
		_, rest, _ := strings.Cut(text[at[0]:], "\n\n")
		first, _, _ := strings.Cut(rest, "\n\n")
		return first
	}
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

// lastLines is how much of the output of a process is shown that ended without a word of the
// runtime's.
const lastLines = 10

// An ending is the last that was written to it.
type ending struct {
	mu sync.Mutex
	b  []byte
}

// mostEnding is how much is kept.
const mostEnding = 64 << 10

func (e *ending) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.b = append(e.b, b...); len(e.b) > 2*mostEnding {
		e.b = append([]byte(nil), e.b[len(e.b)-mostEnding:]...)
	}
	return len(b), nil
}

func (e *ending) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.b)
}

// An answer is a result on its way from a child. What of the result is the parent's own is not
// exported, and stays behind.
type answer struct {
	Failed      bool // the test, in the child
	Result      result
	Err, Broken *toldError
}

func answerOf(r result, failed bool) answer { return answer{failed, r, tell(r.err), tell(r.broken)} }

func (a answer) result(p point) result {
	r := a.Result
	r.point = p
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
