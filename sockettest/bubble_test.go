package sockettest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A signalled buffer tells when it is written to.
type signalled struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed by the first Write; the watchdog does one
}

func (s *signalled) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(s.written)
	return s.text.Write(p)
}

// blocked runs f in a bubble until the watchdog has spoken, lets go, and returns what was said.
func blocked(t *testing.T, f func(t *testing.T), release func()) string {
	t.Helper()
	out := &signalled{written: make(chan struct{})}
	w := &watchdog{name: "TestPing", limit: 20 * time.Millisecond, out: out}
	go func() {
		<-out.written
		release()
	}()
	bubble(t, f, w)
	out.mu.Lock()
	defer out.mu.Unlock()
	return out.text.String()
}

func TestBubbleNamesWhoWaitsForAMutex(t *testing.T) {
	t.Parallel()
	var outside sync.Mutex
	outside.Lock()
	text := blocked(t, func(*testing.T) {
		var wg sync.WaitGroup
		wg.Go(func() {
			outside.Lock() // line of the culprit
			outside.Unlock()
		})
		wg.Wait()
		time.Sleep(time.Hour)
	}, outside.Unlock)
	assert.Contains(t, text, "TestPing: the clock of synctest bubble ")
	assert.Contains(t, text, "waits      sync.Mutex.Lock, not durable: goroutine ")
	assert.Contains(t, text, "sockettest.TestBubbleNamesWhoWaitsForAMutex.")
	assert.Contains(t, text, "bubble_test.go:"+lineOf(t, "// line of the culprit"))
	assert.Equal(t, 1, strings.Count(text, "not durable"), "who waits for others of the bubble is not to blame:\n%s", text)
}

func TestBubbleNamesWhoWaitsForAChannelFromOutside(t *testing.T) {
	t.Parallel()
	outside := make(chan struct{})
	text := blocked(t, func(*testing.T) { <-outside }, func() { close(outside) })
	assert.Contains(t, text, "waits      chan receive, not durable: goroutine ")
	assert.Contains(t, text, "TestBubbleNamesWhoWaitsForAChannelFromOutside")
	assert.NotContains(t, text, "started")
}

func TestBubbleNamesWhoWaitsForASocket(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	text := blocked(t, func(*testing.T) { _, _ = ln.Accept() }, func() { _ = ln.Close() })
	assert.Contains(t, text, "waits      IO wait, not durable: goroutine ")
	assert.Contains(t, text, "net.(*TCPListener).Accept")
}

// A lookup in a bubble, and then one outside, in a fresh process. Without Bubble's own lookup before, this dies of "receive on
// synctest channel from outside bubble".
func TestBubbleLeavesTheResolverOfUse(t *testing.T) {
	t.Parallel()
	lookup := func(ctx context.Context) {
		r := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }}
		_, err := r.LookupTXT(ctx, "localhost")
		assert.Error(t, err)
	}
	const child = "SOCKETTEST_RESOLVER_CHILD"
	switch os.Getenv(child) {
	case "":
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBubbleLeavesTheResolverOfUse$")
		cmd.Env = append(os.Environ(), child+"=Bubble")
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s", out)
	case "synctest": // by hand, to see what is guarded against
		synctest.Test(t, func(t *testing.T) { lookup(t.Context()) })
		lookup(t.Context())
	default:
		Bubble(t, func(t *testing.T) { lookup(t.Context()) })
		lookup(t.Context())
	}
}

func TestBubbleIsABubble(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	Bubble(t, func(t *testing.T) {
		require.True(t, virtual())
		within := time.Now()
		time.Sleep(time.Hour)
		assert.Equal(t, time.Hour, time.Since(within))
	})
	assert.Less(t, time.Since(begin), time.Hour)
}

// lineOf finds the line of this file that ends in mark.
func lineOf(t *testing.T, mark string) string {
	t.Helper()
	src, err := os.ReadFile("bubble_test.go")
	require.NoError(t, err)
	for i, line := range strings.Split(string(src), "\n") {
		if strings.HasSuffix(line, "Lock() "+mark) {
			return strconv.Itoa(i + 1)
		}
	}
	t.Fatalf("no line %q", mark)
	return ""
}
