package scenarios_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

var table = flag.Bool("table", false, "print the scenarios and what was seen")

// A line is one scenario and how it ended.
type line struct{ client, server, stack, network, want, got, after string }

var seen struct {
	sync.Mutex
	lines []line
}

// show is Expect, and a line for the table.
func show[F sockettest.Operation](t *testing.T, on world, what string, ep *fixtures.Endpoint, want sockettest.Want, op F) sockettest.Result {
	t.Helper()
	server, addr, _ := strings.Cut(ep.String(), " on ")
	r := sockettest.Expect(t, ep, want, op)
	network := "IPv4"
	if strings.HasPrefix(addr, "[") {
		network = "IPv6"
	}
	got := r.Outcome.String()
	if r.Phase != "call" {
		got += " in " + r.Phase
	}
	seen.Lock()
	defer seen.Unlock()
	seen.lines = append(seen.lines, line{what, server, on.stack, network, want.String(), got, r.Elapsed.Round(10 * time.Microsecond).String()})
	return r
}

// ep describes a fixture without starting it.
func ep(f any) string { return strings.TrimPrefix(fmt.Sprintf("%T", f), "fixtures.") }

func printTable() {
	lines := slices.Clone(seen.lines)
	slices.SortStableFunc(lines, func(a, b line) int {
		return strings.Compare(a.client+a.server+a.network+a.stack, b.client+b.server+b.network+b.stack)
	})
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tSERVER\tSTACK\tNETWORK\tWANT\tGOT\tAFTER")
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join([]string{l.client, l.server, l.stack, l.network, l.want, l.got, l.after}, "\t"))
	}
	_ = w.Flush()
}

// TestMain prints the table of those that passed and those that did not, and looks for what all of them left behind.
func TestMain(m *testing.M) {
	sockettest.Main(runner{m})
}

type runner struct{ *testing.M }

// Run is testing.M's, and then the table.
func (r runner) Run() int {
	code := r.M.Run()
	if *table {
		printTable()
	}
	return code
}
