package sweep

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/disarm"
	"example.com/go-sockettest/internal/warm"
)

// A Config says what the conversation is with, and how long each part of it may take. Set Limit,
// and Server or Fixture.
type Config struct {
	// Server serves ln until ln is closed, as http.Serve does. It is called once for each
	// conversation, in a bubble of its own: make the server inside. An http.Server, a WaitGroup or a
	// channel from outside that two bubbles use ends the process. Accepted connections are closed.
	// [CaseOf] is its conversation, which it may tell what it found.
	Server func(ln net.Listener) error

	// Fixture serves instead of Server: a [fixtures.Scripted], an [fixtures.Echo], and so on.
	Fixture fixtures.Fixture

	// Limit is how long the operation may take, whatever happens, and so may each [Case.Close] and
	// each [Case.Recovers]. It is not the client's own timeout: a slow connect and a slow read may
	// rightly take longer together.
	Limit time.Duration

	// Grace is how long goroutines and connections may outlive the operation, in virtual time; 0
	// means 20 s.
	Grace time.Duration

	// ServerLimit is how long Server may keep a connection after the fault has struck it; 0 means that
	// this is not looked at. Set it if the server is under test: the operation is then a good client,
	// which should call [Case.Recovers] to see that the server goes on.
	ServerLimit time.Duration

	// Once are requests that the server must not get twice, each by its bytes or the last of them.
	// What is sent after the fault, by [Case.Recovers], is not counted.
	Once []string

	// Host is the server's name, such as "db.example", if the client is to look it up. It is then the
	// host of [Case.Addr], and each lookup by [Case.DialContext] or [Case.Resolver] is a point: there
	// is no such host, SERVFAIL, no answer, a late one. Empty means an address.
	Host string

	// Names name connections by what the client sends first: a connection with one of these texts in
	// its first 64 bytes has that name, whatever its number. Give one to each kind of connection if
	// the client opens them in changing order. Their points are called "NAME/answer/byte_117/reset",
	// and "NAME_2/..." on the second with that name. Bytes that pass before are not tried.
	Names map[string]string

	// Faults are what happens at each byte; nil means [DefaultFaults].
	Faults []Fault

	// Map is a file such as "testdata/fetch.map" with what each point comes to, to be compared; empty
	// means none. It can accept violations, for a reason. go test -sweep.update writes it.
	Map string

	// Max is how many conversations there are at most; 0 means 3,000. Of more points, about this many
	// are drawn. With -short there are 500 at most.
	Max int

	// Pairs is how many pairs of faults are tried at most, on successive connections, where the
	// operation tried again after the first; 0 means a tenth of Max, less than 0 means none. They are
	// drawn: go test -sweep.seed=N draws others.
	Pairs int

	// Workers is how many conversations run at once, each in a bubble of its own; 0 means GOMAXPROCS.
	// Set it to 1 for an operation or a Server that shares variables between its calls.
	Workers int
}

// defaultGrace is not a sum of timeouts that are common. Some clients close in the background, and
// give that 15 s.
const defaultGrace = 20*time.Second + 7*time.Millisecond

// Run has op talk to the server once, and then again for each byte of that conversation and each
// fault, each time in a bubble of its own, and fails the test with one report if op does not cope:
// see the package's documentation for what is looked for.
//
// op uses what c gives it and makes its client itself. ctx has no deadline. op returns nil if all
// went well, as it must without a fault. It checks whether what it got is right, and tells c.
func Run(t *testing.T, cfg Config, op func(ctx context.Context, c *Case) error) {
	if t == nil {
		panic("bad argument: sweep.Run: t is nil; want the test")
	}
	t.Helper()
	if op == nil {
		t.Fatalf("bad argument: sweep.Run: op is nil; want the function that uses the code under test")
	}
	if err := cfg.check(); err != nil {
		t.Fatalf("bad argument: sweep.Run: %v", err)
	}
	if disarm.On() {
		t.Skip("sweep.Run: without faults (SOCKETTEST_DISARM=1) there is nothing to sweep")
	}
	if now := time.Now(); now == now.Round(0) { // virtual time has no monotonic reading
		t.Fatalf("bad argument: sweep.Run: called in a testing/synctest bubble; want it outside, since it makes bubbles of its own")
	}
	t.Context().Done() // made outside of any bubble: an operation may use it
	warm.Resolver()
	s := &sweep{t: t, cfg: cfg, op: op}
	if s.begins(*isolate) {
		return
	}
	if err := s.begin(); err != nil {
		t.Fatalf("sweep.Run: %v", err)
	}
	if asksFor(t.Name()) {
		s.alone(s.points(true))
	} else {
		s.finish(s.try())
	}
}

// begin has the good conversation.
func (s *sweep) begin() (err error) {
	s.began, s.hop = time.Now(), latency
	showLabels()
	if end, ok := s.t.Deadline(); ok {
		s.until = end.Add(-time.Until(end) / 8) // the report needs some, and so do other tests
	}
	s.good, err = s.converse()
	return err
}

// try tries all points, and where the operation tried again harder ones. It returns how many it
// left out.
func (s *sweep) try() (results []result, left int) {
	s.t.Helper()
	s.order = map[string]int{}
	points, left := s.budget(s.points(false))
	results = s.all(points)
	var harder []point
	simple := map[string]result{} // by the name of a harder one
	for _, r := range results {
		if r.Retried {
			for _, p := range r.point.harder() {
				harder, simple[p.name()] = append(harder, p), r
			}
		}
	}
	harder, more := s.budget(harder)
	for _, r := range s.all(harder) {
		r.Found = slices.DeleteFunc(r.Found, func(v violation) bool { return simple[r.point.name()].is(v.Kind) })
		results = append(results, r)
	}
	return append(results, s.tryPairs(results)...), left + more
}

// A sweep is one call of Run.
type sweep struct {
	isolation
	t     *testing.T
	cfg   Config
	op    func(context.Context, *Case) error
	began time.Time
	hop   time.Duration // latency, or 0 where a mutex is waited for that is held over a round trip
	until time.Time     // when to stop; zero is never
	every time.Duration // progress is told; 0 means progressEvery
	good  conversation
	names map[string]point // in a child
	order map[string]int   // of bytes: those with the lower numbers are tried where there are too many
}

// check finds what is wrong with the fields, and sets defaults.
func (cfg *Config) check() error {
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	if cfg.Max == 0 {
		cfg.Max = defaultMax
	}
	if cfg.Faults == nil {
		cfg.Faults = DefaultFaults()
	}
	switch {
	case cfg.Server == nil && argument.IsNil(cfg.Fixture):
		return errors.New("Config.Server and Config.Fixture are nil; want what the client talks to, such as Server:" +
			" func(ln net.Listener) error { return http.Serve(ln, handler) }")
	case cfg.Server != nil && !argument.IsNil(cfg.Fixture):
		return errors.New("Config.Server and Config.Fixture are both set; want one of them")
	case cfg.Limit <= 0:
		return fmt.Errorf("Config.Limit is %v; want how long the operation may take whatever happens: more than 0, and not its client's"+
			" own timeout", cfg.Limit)
	case cfg.ServerLimit < 0:
		return fmt.Errorf("Config.ServerLimit is %v; want 0 (not looked at) or more", cfg.ServerLimit)
	case cfg.Grace < 0:
		return fmt.Errorf("Config.Grace is %v; want 0 (20s) or more", cfg.Grace)
	case cfg.Max < 0:
		return fmt.Errorf("Config.Max is %d; want 0 (3,000) or more", cfg.Max)
	case cfg.Workers < 0:
		return fmt.Errorf("Config.Workers is %d; want 0 (GOMAXPROCS) or more", cfg.Workers)
	}
	return cmp.Or(checkFaults(cfg.Faults), checkOnce(cfg.Once), checkHost(cfg.Host), checkNames(cfg.Names))
}

func checkOnce(requests []string) error {
	if i := slices.Index(requests, ""); i >= 0 {
		return fmt.Errorf("Config.Once[%d] is empty; want the bytes of a request", i)
	}
	return nil
}

func checkFaults(list []Fault) error {
	if len(list) == 0 {
		return errors.New("Config.Faults is empty; want nil, for DefaultFaults, or some")
	}
	for i, f := range list {
		if j := slices.IndexFunc(list, func(o Fault) bool { return o.Name == f.Name }); j != i {
			return fmt.Errorf("Config.Faults[%d] and [%d] are both called %q; want names that differ", j, i, f.Name)
		}
		if f.Name == "" || strings.ContainsAny(f.Name, "/ ") || f.Do.String() == "" && f.make == nil {
			return fmt.Errorf("Config.Faults[%d] is %q, %v; want a name without slashes and spaces, and an effect", i, f.Name, f.Do)
		}
	}
	return nil
}

// asksFor reports whether -run or -skip goes deeper than the test: to its points.
func asksFor(test string) bool {
	for _, name := range []string{"test.run", "test.skip"} {
		if f := flag.Lookup(name); f != nil && selects(f.Value.String(), test) {
			return true
		}
	}
	return false
}

// selects reports whether a pattern goes deeper than the test. A part that is no regular expression
// of its own is taken to match.
func selects(pattern, test string) bool {
	names := strings.Split(test, "/")
	return slices.ContainsFunc(strings.Split(strings.ReplaceAll(pattern, " ", "_"), "|"), func(alternative string) bool {
		parts := strings.Split(alternative, "/")
		if len(parts) <= len(names) {
			return false
		}
		for i, name := range names {
			if re, err := regexp.Compile(parts[i]); err == nil && !re.MatchString(name) {
				return false
			}
		}
		return true
	})
}

// alone runs the points that -run names, each as a subtest.
func (s *sweep) alone(points []point) {
	s.t.Helper()
	if f := flag.Lookup("test.run"); f != nil {
		if p := s.pairNamed(points, f.Value.String()); p != nil {
			points = []point{*p}
		}
	}
	ran := 0
	w := &worker{sweep: s}
	defer w.end()
	for _, p := range points {
		s.t.Run(p.name(), func(t *testing.T) {
			t.Helper()
			ran++
			r := w.one(p, true)
			if len(r.Found) > 0 {
				t.Errorf("%s", s.inFull(r))
			} else {
				t.Logf("%s", s.ended(r))
			}
		})
	}
	if ran == 0 {
		s.t.Fatalf("sweep.Run: no point of this test is called what -run says. The conversation is now: %s", s.good)
	}
}
