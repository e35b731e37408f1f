// Package manytests runs the parallel tests of a package that mostly waits many at a time.
package manytests

import (
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// AtOnce lets 32 parallel tests run at once, where package testing runs as many as there are
// processors: a test that waits for a kernel's timer needs no processor. It respects -parallel, and
// leaves fuzzing alone, where -parallel counts processes. Call it first in TestMain.
func AtOnce() { atOnce(32) }

// AllAtOnce is AtOnce for tests that no delay can fail: 128 run at once.
func AllAtOnce() { atOnce(128) }

// descriptorsEach is how many a test has open, as a rule.
const descriptorsEach = 32

// atOnce also lets garbage lie for longer: what the tests leave is little. It runs fewer at once
// where there are few descriptors.
func atOnce(n int) {
	n = max(1, min(n, descriptors()/descriptorsEach))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	flag.Parse()
	told := flag.Lookup("test.fuzz").Value.String() != ""
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(n))
	}
}

// Long skips the test with -short. why says what it takes.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: " + why)
	}
}

// Rounds is how many times a test repeats what fails by chance: n, and with -short a tenth of that.
func Rounds(n int) int {
	if testing.Short() {
		return (n + 9) / 10
	}
	return n
}

// KernelTimer is [Long] for timers that nobody can shorten: those of the kernel, such as the second
// before a SYN is sent again, or those of net/http.
func KernelTimer(t testing.TB) {
	t.Helper()
	Long(t, "it waits for timers of the kernel or of net/http")
}

// NeedsIPv6 skips a test of the kernel's IPv6 on a host without it.
func NeedsIPv6(t testing.TB) {
	t.Helper()
	if err := IPv6(); err != nil {
		t.Skip("no IPv6 loopback on this host: ", err)
	}
}

// IPv6 returns why this host has no IPv6 loopback, or nil.
var IPv6 = sync.OnceValue(func() error {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		err = ln.Close()
	}
	return err
})

// NeedsMinTTL skips a test of what rests on IP_MINTTL, which drops nothing where packets set out
// with a TTL of 255.
func NeedsMinTTL(t testing.TB) {
	t.Helper()
	if ttl, err := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl"); err == nil && string(ttl) == "255\n" {
		t.Skip("net.ipv4.ip_default_ttl is 255: IP_MINTTL drops nothing")
	}
}

// NeedsQueue skips a test that has several connections wait in one accept queue, where the kernel
// lets none.
func NeedsQueue(t testing.TB) {
	t.Helper()
	most, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if n, parseErr := strconv.Atoi(strings.TrimSpace(string(most))); err == nil && parseErr == nil && n < 128 {
		t.Skipf("net.core.somaxconn is %d: an accept queue has no room for more", n)
	}
}

// NeedsProc skips a test of what the process has open, where Linux lists nothing.
func NeedsProc(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/proc/self/fd"); err != nil && runtime.GOOS == "linux" {
		t.Skip("there is no /proc: ", err)
	}
}

// NeedsDescriptors skips a test that has this many sockets and files open at once, where the
// process may not have as many (ulimit -n). Where Linux does not tell, it goes on.
func NeedsDescriptors(t testing.TB, n int) {
	t.Helper()
	if most := descriptors(); most < n {
		t.Skipf("it has up to %d descriptors open, and the limit (ulimit -n) is %d", n, most)
	}
}

// descriptors returns how many the process may have.
func descriptors() int {
	limits, _ := os.ReadFile("/proc/self/limits") // else there is no such line
	_, line, _ := strings.Cut(string(limits), "Max open files")
	return firstOf(line)
}

// Uses ends the process, and says so, where the tests of a package use more ports within a minute,
// or more descriptors at once, than there are. Call it in TestMain.
func Uses(somePorts, someDescriptors int) {
	if most := ports(); most < somePorts {
		fmt.Printf("skipped: these tests use up to %d ports, and the machine has %d (ip_local_port_range)\n", somePorts, most)
		os.Exit(0)
	}
	if most := descriptors(); most < someDescriptors {
		fmt.Printf("skipped: these tests have up to %d descriptors open, and the limit (ulimit -n) is %d\n", someDescriptors, most)
		os.Exit(0)
	}
}

// ports returns how many there are for whoever names none.
func ports() int {
	limits, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	first, last, _ := strings.Cut(strings.TrimSpace(string(limits)), "\t")
	if firstOf(last) == math.MaxInt {
		return math.MaxInt
	}
	return firstOf(last) - firstOf(first) + 1
}

// firstOf reads the number that a line begins with, and is without bound if there is none: the
// system does not tell.
func firstOf(line string) int {
	if f := strings.Fields(line); len(f) > 0 {
		if n, err := strconv.Atoi(f[0]); err == nil {
			return n
		}
	}
	return math.MaxInt
}

// NeedsPlainTCP skips a test of what MPTCP does otherwise, where package net dials with it.
func NeedsPlainTCP(t testing.TB) {
	t.Helper()
	if g := os.Getenv("GODEBUG"); strings.Contains(g, "multipathtcp=1") || strings.Contains(g, "multipathtcp=3") {
		t.Skip("GODEBUG has multipathtcp: docs/fixtures.md says what it does otherwise")
	}
}

var lastLoopback atomic.Uint32

// OwnLoopback returns an IPv4 loopback address that hardly anybody else uses, so that a port that
// was given back is not taken by a test or a program that runs beside, nor a datagram meant for
// them comes. Outside Linux, and in IPv6, there is but one.
func OwnLoopback() net.IP {
	if runtime.GOOS != "linux" {
		return net.IPv4(127, 0, 0, 1)
	}
	lastLoopback.CompareAndSwap(0, uint32(os.Getpid())<<8)
	n := lastLoopback.Add(1)
	return net.IPv4(127, 1+byte(n>>16)%250, byte(n>>8), 1+byte(n)%250)
}

const child = "MANYTESTS_CHILD"

// Alone runs the test again in a process of its own, beside this process's tests, and reports
// whether this is that process. It is for tests of the whole process, which could not be parallel
// otherwise. With -short it skips them, since a process costs more than most tests:
//
//	if !manytests.Alone(t) {
//		return
//	}
func Alone(t *testing.T) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: it needs a process of its own")
	}
	g := Group{Run: "^" + t.Name() + "$"}
	return g.runs(t, func() {})
}

// A Group is tests of what is the whole process's, such as its environment, which need another
// process and share it.
type Group struct {
	Env string // NAME=VALUE
	Run string // what -test.run matches them all

	once sync.Once
	wait func() (string, error)
}

// Runs reports whether this is the group's process, where the test goes on, in parallel. Elsewhere
// it has the process begun and passes, fails or skips the test as it went there.
func (g *Group) Runs(t *testing.T) bool {
	t.Helper()
	return g.runs(t, t.Parallel)
}

func (g *Group) runs(t *testing.T, begin func()) bool {
	t.Helper()
	if os.Getenv(child) == g.Run {
		begin()
		return true
	}
	switch out, err := g.Output(t); {
	case strings.Contains(out, "--- SKIP: "+t.Name()+" "):
		t.Skip(out)
	case !strings.Contains(out, "--- PASS: "+t.Name()+" "), err != nil && !strings.Contains(out, "--- FAIL: "):
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// Output returns what the group's process has printed, with -test.v, and makes the test parallel.
func (g *Group) Output(t *testing.T) (string, error) {
	t.Helper()
	g.once.Do(func() {
		args := []string{"-test.run=" + g.Run, "-test.v"}
		if f := flag.Lookup("update"); f != nil {
			args = append(args, "-update="+f.Value.String())
		}
		g.wait = sync.OnceValues(start(t, args, child+"="+g.Run, g.Env))
	})
	t.Parallel()
	return g.wait()
}

// Start runs this test's binary again, with one more environment variable, and returns what waits
// for its end and returns its output. Call it before t.Parallel. A fork stops one of the runtime's
// processors until the child has begun, which on a busy machine takes long, and a test beside it
// would be late by as much.
func Start(t *testing.T, env string, args ...string) (wait func() (string, error)) {
	t.Helper()
	return start(t, args, env)
}

func start(t *testing.T, args []string, env ...string) (wait func() (string, error)) {
	t.Helper()
	if testing.Short() {
		args = append(args, "-test.short")
	}
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (string, error) { err := cmd.Wait(); return out.String(), err }
}
