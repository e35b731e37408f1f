package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
)

// A check is one fixture and what it must do.
type check struct {
	name    string // what is special about it, beside its type; may be empty
	fixture fixtures.Fixture
	on      []string // networks; nil means families

	// holds is an error if the running fixture does not behave, and else may note what is worth knowing.
	holds func(ctx context.Context, ep *fixtures.Endpoint) (note string, err error)

	// datagrams is a fixture of UDP, instead, and exchanges what it must do.
	datagrams udp.Fixture
	exchanges func(ctx context.Context, ep *udp.Endpoint) (note string, err error)

	// attack is a client of a server at target, instead, and suffers what that server must see.
	attack  func(target string) hostile.Fixture
	suffers func(ctx context.Context, s siege) (note string, err error)

	// by is the mechanism, if it is not the port's.
	by string
}

// start runs the fixture; srv is the server under attack, if there is one.
func (c check) start(ctx context.Context, w fixtures.Place, srv *net.TCPListener) (io.Closer, error) {
	switch {
	case srv != nil:
		return hostile.Start(ctx, c.attack(srv.Addr().String()), w)
	case c.datagrams != nil:
		return udp.Start(ctx, c.datagrams, w)
	}
	return fixtures.Start(ctx, c.fixture, w)
}

// probe is holds, exchanges or suffers.
func (c check) probe(ctx context.Context, f io.Closer, srv *net.TCPListener) (string, error) {
	switch f := f.(type) {
	case *hostile.Attack:
		return c.suffers(ctx, siege{srv, f})
	case *udp.Endpoint:
		return c.exchanges(ctx, f)
	}
	return c.holds(ctx, f.(*fixtures.Endpoint))
}

// mechanism names what makes the fixture behave, if that is told.
func mechanism(f io.Closer) string {
	if m, ok := f.(interface{ Mechanism() string }); ok {
		return m.Mechanism()
	}
	return ""
}

// families are the networks on which each fixture is tried.
var families = []string{"tcp4", "tcp6", "unix"}

// patience is how long a probe may take in all.
const patience = 15 * time.Second

// The verdicts.
const (
	works   = "yes"
	broken  = "NO"
	skipped = "skipped"
)

// A finding is one line of the table.
type finding struct {
	fixture, family string
	verdict         string
	by              string
	cost            time.Duration
	note            string
}

// doctor prints the table, and returns 1 if a fixture does not behave.
func doctor(ctx context.Context, out io.Writer, checks []check) int {
	fmt.Fprintf(out, "sockettest doctor on %s\n\n", machine())
	findings := make([]finding, 0, len(families)*len(checks))
	for _, c := range checks { // one after the other: what is measured is not to wait for a neighbour
		for _, family := range c.networks() {
			f := finding{fixture: c.String(), family: family, cost: cost(ctx, c, family)}
			f.look(ctx, c)
			findings = append(findings, f)
		}
	}
	return conclude(out, findings)
}

func (c check) networks() []string {
	switch {
	case c.on != nil:
		return c.on
	case c.datagrams != nil:
		return []string{"udp4", "udp6"}
	case c.attack != nil:
		return tcp
	}
	return families
}

// String names the check by its fixture's type.
func (c check) String() string {
	name := fmt.Sprintf("%T", c.fixture)
	name = name[strings.LastIndexByte(name, '.')+1:]
	switch { // with its package: there are more of the same name
	case c.datagrams != nil:
		name = fmt.Sprintf("%T", c.datagrams)
	case c.attack != nil:
		name = fmt.Sprintf("%T", c.attack(""))
	}
	if c.name != "" {
		name += ", " + c.name
	}
	return name
}

// cost is the least of a few starts with a close: what it takes when nothing else happens. 0 is that it did not start.
func cost(ctx context.Context, c check, family string) time.Duration {
	srv, err := c.server(ctx, family)
	if err != nil {
		return 0
	}
	defer srv.Close()
	var least time.Duration
	for range 5 {
		begin := time.Now()
		f, err := c.start(ctx, fixtures.Place{Family: family}, srv)
		if err != nil {
			return 0
		}
		err = f.Close()
		if d := time.Since(begin); err == nil && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}

// look starts the fixture and probes it.
func (f *finding) look(ctx context.Context, c check) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	var faults []error
	srv, err := c.server(ctx, f.family)
	if err != nil {
		f.judge(err)
		return
	}
	defer srv.Close()
	running, err := c.start(ctx, fixtures.Place{Family: f.family, Fail: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err)
	}}, srv)
	if err == nil {
		if f.by = c.by; f.by == "" {
			f.by = mechanism(running)
		}
		f.note, err = c.probe(ctx, running, srv)
		closed := running.Close()
		mu.Lock()
		if len(faults) > 0 {
			err = faults[0] // what came after it is its consequence
		}
		mu.Unlock()
		err = errors.Join(err, closed)
	}
	f.judge(err)
}

func (f *finding) judge(err error) {
	switch {
	case err == nil:
		f.verdict = works
	case errors.Is(err, errors.ErrUnsupported):
		f.verdict, f.by, f.note = skipped, "", err.Error()
	default:
		f.verdict, f.note = broken, err.Error()
	}
	f.note = strings.ReplaceAll(f.note, "\n", "; ")
}

// conclude writes the table and the sum of it.
func conclude(out io.Writer, findings []finding) int {
	count := map[string]int{}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIXTURE\tNETWORK\tWORKS\tBY\tSTART+CLOSE\tNOTE")
	for _, f := range findings {
		count[f.verdict]++
		took := ""
		if f.cost > 0 {
			took = f.cost.Round(100 * time.Nanosecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.fixture, f.family, f.verdict, f.by, took, f.note)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\n%d work, %d skipped, %d do not behave\n", count[works], count[skipped], count[broken])
	if count[broken] > 0 {
		return 1
	}
	return 0
}

// machine says where this was seen.
func machine() string {
	s := fmt.Sprintf("%s/%s, %s", runtime.GOOS, runtime.GOARCH, runtime.Version())
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s += ", kernel " + strings.TrimSpace(string(release))
	}
	if uid := os.Getuid(); uid >= 0 {
		s += fmt.Sprintf(", user %d", uid)
	}
	return s
}
