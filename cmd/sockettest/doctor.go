package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/internal/rawsock"
)

// checks are all fixtures, in the order of docs/fixtures.md, and what can be done to one while it
// runs.
func checks() []probe.Row { return slices.Concat(probe.All(), probe.Faults) }

// patience is how long a probe may take in all.
const patience = 15 * time.Second

// atOnce is how many rows are looked at.
const atOnce = 4

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

// doctor prints the table line by line, and returns 1 if a fixture does not behave.
func doctor(ctx context.Context, out io.Writer, rows []probe.Row) int {
	fmt.Fprintf(out, "sockettest doctor on %s\n\n", machine())
	width := len("FIXTURE")
	for _, r := range rows {
		width = max(width, len(r.String()))
	}
	const line = "%-*s  %-7s  %-7s  %-48s  %-11s  %s\n"
	fmt.Fprintf(out, line, width, "FIXTURE", "NETWORK", "WORKS", "BY", "START+CLOSE", "NOTE")
	count := map[string]int{}
	examine(ctx, rows, func(findings []finding) {
		for _, f := range findings {
			count[f.verdict]++
			took := ""
			if f.cost > 0 {
				took = f.cost.Round(100 * time.Nanosecond).String()
			}
			fmt.Fprintf(out, line, width, f.fixture, f.family, f.verdict, f.by, took, f.note)
		}
	})
	fmt.Fprintf(out, "\n%d work, %d skipped, %d do not behave\n", count[works], count[skipped], count[broken])
	if count[broken] > 0 {
		return 1
	}
	return 0
}

// examine measures each row and network by itself, and then looks at a few rows at once: most of
// that is waiting. It passes on their findings in order, each row's as soon as it can.
func examine(ctx context.Context, rows []probe.Row, passOn func([]finding)) {
	all, looking := make([][]finding, len(rows)), make([]sync.WaitGroup, len(rows))
	for i, r := range rows {
		for _, family := range r.Networks() {
			all[i] = append(all[i], finding{fixture: r.String(), family: family, cost: cost(ctx, r, family)})
		}
	}
	begin := func(i int) {
		for j := range all[i] {
			looking[i].Go(func() { all[i][j].look(ctx, rows[i]) })
		}
	}
	for i := range min(atOnce, len(rows)) {
		begin(i)
	}
	for i := range rows {
		looking[i].Wait()
		passOn(all[i])
		if next := i + atOnce; next < len(rows) {
			begin(next)
		}
	}
}

// cost is the least of a few starts with a close: what it takes when nothing else happens. That of
// a client has its server in it. 0 is that it did not start.
func cost(ctx context.Context, r probe.Row, family string) time.Duration {
	var least time.Duration
	for range 5 {
		begin := time.Now()
		f, err := r.Start(ctx, fixtures.Place{Family: family})
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

// look starts the fixture and judges it.
func (f *finding) look(ctx context.Context, r probe.Row) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	var faults []error
	running, err := r.Start(ctx, fixtures.Place{Family: f.family, Fail: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err)
	}})
	if err == nil {
		if f.by = r.By; f.by == "" {
			f.by = mechanism(running)
		}
		f.note, err = r.Judge(ctx, running)
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

// mechanism names what makes the fixture behave, if that is told.
func mechanism(r probe.Running) string {
	if m, ok := r.(interface{ Mechanism() string }); ok {
		return m.Mechanism()
	}
	return ""
}

func (f *finding) judge(err error) {
	switch {
	case err == nil:
		f.verdict = works
	case errors.Is(err, errors.ErrUnsupported), rawsock.NoDescriptors(err): // "ulimit -n"
		f.verdict, f.by, f.note = skipped, "", err.Error()
	default:
		f.verdict, f.note = broken, err.Error()
	}
	f.note = strings.ReplaceAll(f.note, "\n", "; ")
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
