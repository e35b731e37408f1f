package scenarios_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
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
	seen.lines = append(seen.lines, line{what, server, on.name(), network, want.String(), got, r.Elapsed.Round(10 * time.Microsecond).String()})
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

// TestMain prints the table of those that passed and those that did not, and looks for what all of
// them left behind.
func TestMain(m *testing.M) {
	manytests.AtOnce()
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

// A world is a network that scenarios run on.
type world struct {
	network.Stack
	on      sockettest.Option
	refusal error // RST to a SYN
	mute    bool  // it does not answer for a socket that is bound and not listening
}

// worldOf says how the network answers: simnet as Linux does, on every platform.
func worldOf(nw network.Stack) world {
	w := world{Stack: nw, on: sockettest.On(nw), refusal: syscall.ECONNREFUSED}
	if !w.real() {
		return w
	}
	switch runtime.GOOS {
	case "windows":
		w.refusal = syscall.Errno(10061) // WSAECONNREFUSED
	case "darwin", "openbsd", "netbsd":
		w.mute = true
	}
	return w
}

func (w world) real() bool { return w.Stack == sockettest.Kernel }

func (w world) name() string {
	if w.real() {
		return "kernel"
	}
	return "simnet"
}

// dialer is the client under test.
func (w world) dialer(timeout time.Duration) calltimeout.Dialer {
	if w.real() {
		return calltimeout.Dialer{Timeout: timeout} // package net's own
	}
	return calltimeout.Dialer{Timeout: timeout, Connect: w.DialContext}
}

// want chooses: virtual time has no upper bounds that are not exact. A want of After alone is exact
// there as it is, since its slack is 0.
func (w world) want(near, exact sockettest.Want) sockettest.Want {
	if w.real() {
		return near
	}
	return exact
}

// runs is onBoth or inTurn.
type runs func(t *testing.T, name string, f func(t *testing.T, w world))

// onBoth runs a scenario on both networks, beside all others.
func onBoth(t *testing.T, name string, f func(t *testing.T, w world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		onEach(t, f)
	})
}

// inTurn runs a scenario on both networks, while no other test runs.
func inTurn(t *testing.T, name string, f func(t *testing.T, w world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { onEach(t, f) })
}

func onEach(t *testing.T, f func(t *testing.T, w world)) {
	t.Helper()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		f(t, worldOf(nw))
	})
}
