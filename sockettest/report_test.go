package sockettest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

func refusedError() error {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 37461}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func ended(err error, elapsed time.Duration) Result {
	r := Result{Elapsed: elapsed, Err: err, Classes: Classify(err)}
	r.Outcome, r.Phase = r.Classes[0].Outcome, r.Classes[0].Phase
	return r
}

// What a report leaves out it counts.
func TestReportCountsWhatIsNotShown(t *testing.T) {
	t.Parallel()
	var f failure
	assert.NotContains(t, f.String(), "not shown")
	f.omitted = 3
	assert.Contains(t, f.String(),
		"\n       ... 3 connections not shown: they have ended, and an endpoint keeps a thousand of the first and of the last ...")
}

func TestReport(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	blackHole := []fixtures.Event{
		{At: 100 * time.Microsecond, Kind: fixtures.Bound, Note: "SYNs are dropped"},
		{At: 41 * time.Millisecond, Kind: fixtures.SYN, Count: 1, Note: "1 dropped so far, retransmissions included"},
	}
	hung := Result{Outcome: Blocked, Phase: "connect", Elapsed: 1450 * time.Millisecond, unblocked: true,
		stack: []string{"net.(*netFD).connect  fd_unix.go:118", "net.(*netFD).dial  sock_posix.go:124",
			"net.(*Dialer).DialContext  dial.go:523", "db.open  client.go:88", "db.(*Client).Ping  client.go:41"}}
	hung.Classes = []Class{{Outcome: Blocked, Phase: "connect"}}
	left := hung
	left.unblocked = false
	slow := ended(context.DeadlineExceeded, 550*time.Millisecond)
	slow.late = 6 * time.Millisecond
	joined := ended(errors.Join(refusedError(), fmt.Errorf("second host: %w", os.ErrDeadlineExceeded)), limit)
	wordy := refusedError()
	for range 3 {
		wordy = fmt.Errorf("%w", wordy)
	}
	opaque := ended(errors.New("db: bad connection"), limit)
	var many []fixtures.Event
	for i := range 40 {
		many = append(many, fixtures.Event{At: time.Duration(i) * time.Millisecond, Kind: fixtures.ConnAccepted, Conn: i + 1,
			Note: fmt.Sprintf("#%d from 127.0.0.1:40000", i+1)})
	}
	for _, tt := range []struct {
		name    string
		want    Window
		result  Result
		fixture string
		events  []fixtures.Event
	}{
		{"wrong outcome", TimedOut.After(limit), ended(refusedError(), 170*time.Microsecond), "Refused{}",
			[]fixtures.Event{{Kind: fixtures.Bound, Note: "not listening; the port stays ours"}}},
		{"wrong phase", TimedOut.After(limit).In("read"), ended(context.DeadlineExceeded, limit), "BlackHole{}", blackHole},
		{"too early", TimedOut.After(limit), ended(os.ErrDeadlineExceeded, 40*time.Millisecond), "BlackHole{}", blackHole},
		{"too late", TimedOut.After(limit), slow, "BlackHole{}", blackHole},
		{"no answer", TimedOut.After(limit), hung, "BlackHole{}", blackHole},
		{"left behind", TimedOut.After(limit), left, "BlackHole{}", blackHole},
		{"not blocked", Blocked.For(limit), ended(refusedError(), time.Millisecond), "Refused{}", nil},
		{"several outcomes", Accepted.Before(limit), joined, "BlackHole{}", blackHole},
		{"error of its own", ErrorIs(errors.New("db: no servers")).After(limit), ended(errors.New("db: bad connection"), limit), "BlackHole{}", blackHole},
		{"wrapped without a word", TimedOut.After(limit), ended(wordy, limit), "Refused{}", nil},
		{"unclassified", TimedOut.After(limit), opaque, "Silent{}", nil},
		{"long timeline", Rejected.Before(limit), ended(nil, time.Millisecond), "Echo{}", many},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := tt.want.choose(tt.result)
			err := tt.want.Check(r)
			if err == nil {
				t.Fatal("the check passed")
			}
			golden(t, failure{headline: err.Error(), want: tt.want, slack: defaultSlack, result: r,
				tested: "client", rule: "a SYN that nobody answers is retried by the kernel for minutes (tcp(7), tcp_syn_retries)",
				fixture: tt.fixture + " on 127.0.0.1:37461", from: 40 * time.Millisecond, events: tt.events}.String())
		})
	}
}

func TestLeakageReport(t *testing.T) {
	t.Parallel()
	w := newWatch("report", nil)
	defer w.Close()
	l := w.leaks([]stuck{
		{count: 3, frames: []string{"net.(*netFD).Read  fd_posix.go:68", "net.(*conn).Read  net.go:196", "bufio.(*Reader).fill  bufio.go:113",
			"net/http.(*persistConn).readLoop  transport.go:2325", "net/http.(*Transport).dialConn.gowrap2  transport.go:1944"}},
		{count: 1, frames: []string{"db.(*pool).reap  pool.go:17"}},
	}, []suspect{{text: "#1 127.0.0.1:33724 -> 127.0.0.1:42357, opened at +1ms, 0 B in, 0 B out, never closed by the other side"}})
	golden(t, l.String())
}

var update = flag.Bool("update", false, "write testdata/*.golden again")

// golden compares text with testdata/<test's name>.golden.
func golden(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join("testdata", strings.ReplaceAll(t.Name(), "/", "-")+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text+"\n"), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test ./sockettest -update once, and read what it writes")
	assert.Equal(t, string(want), text+"\n")
}

// steady replaces what differs from run to run, so that real failures can be golden as well.
func steady(text string) string {
	for _, r := range []struct{ from, to string }{
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`\[::1\]:\d+`, "[::1]:PORT"},
		{`/\S*/sockettest-\d+/s\b`, "PATH"},
		{`\b\d+(\.\d+)?(ns|µs|ms|s)\b`, "TIME"},
		{`(?m)^  +[+-]TIME`, "  +TIME"},
		{`window   0 [-=X]+ TIME`, "window   BAR"},
		{`\.go:\d+`, ".go:LINE"},
		{`sockettest\.Test[\w.]+\.dialing\.`, "sockettest.dialing."},      // Go 1.26 names a closure by where it was inlined
		{`\*(poll\.DeadlineExceededError|net\.timeoutError)`, "*TIMEOUT"}, // a coin toss of package net
		{` \(TIME of that for timers that were late, under this test's load or others'\)`, ""},
		{`(?m)^  others .*\n`, ""},
		{`\d+ SYNs? sent again`, "N SYNs sent again"},
		{`(it waits in io\.Copy, there in) .*\)`, "$1 net.(*netFD).Read)"}, // between reads for once
		{`(sent again|has sent again) \d+ times?`, "$1 N times"},
		{`\d+(\.\d+)? [kM]?B (unread|written|taken|came)`, "N B $2"},
		{`\d+ B in \d+ parts`, "N B in N parts"},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return text
}

func TestEndsOfAStack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		frames, want []string
	}{
		{"none", nil, nil},
		{"short", []string{"net.(*conn).Read  net.go:1", "db.Ping  db.go:1"}, []string{"db.Ping  db.go:1", "(it waits in net.(*conn).Read)"}},
		{"the client's own among others'", []string{"net.(*netFD).Read  fd.go:1", "net.(*conn).Read  net.go:1", "bufio.(*Reader).fill  bufio.go:1",
			"db.(*conn).hello  conn.go:1", "db.Open  db.go:1", "sync.(*Once).Do  once.go:1", "db.Ping  db.go:2", "shop.Test  shop_test.go:1"},
			[]string{"db.(*conn).hello  conn.go:1", "db.Open  db.go:1", "db.Ping  db.go:2", "called from shop.Test  shop_test.go:1",
				"(it waits in bufio.(*Reader).fill, there in net.(*netFD).Read)"}},
		{"names like the standard library's", []string{"io.ReadFull  io.go:1", "go.mongodb.org/mongo-driver.(*pool).get  pool.go:1",
			"log.example/net.Ping  ping.go:1"},
			[]string{"go.mongodb.org/mongo-driver.(*pool).get  pool.go:1", "log.example/net.Ping  ping.go:1", "(it waits in io.ReadFull)"}},
		{"what we put around an operation", []string{"db.Ping  db.go:1", startPath + "Expect[...].func1  judge.go:1"}, []string{"db.Ping  db.go:1"}},
		{"the client waits for itself", []string{"db.(*pool).get  pool.go:1", "db.(*pool).conn  pool.go:2", "db.Open  db.go:1", "db.Ping  db.go:2",
			"shop.Test  shop_test.go:1"},
			[]string{"db.(*pool).get  pool.go:1", "db.(*pool).conn  pool.go:2", "db.Open  db.go:1", "called from shop.Test  shop_test.go:1"}},
		{"none of the client's", []string{"net.(*conn).Read  net.go:1", "net/http.(*persistConn).Read  transport.go:1", "bufio.(*Reader).fill  bufio.go:1",
			"bufio.(*Reader).Peek  bufio.go:2", "net/http.(*persistConn).readLoop  transport.go:2"},
			[]string{"net.(*conn).Read  net.go:1", "net/http.(*persistConn).Read  transport.go:1", "...",
				"net/http.(*persistConn).readLoop  transport.go:2"}},
		{"nothing but plumbing", []string{"net.a  a.go:1", "net.b  a.go:2", "net.c  a.go:3", "net.d  a.go:4", "net.e  a.go:5"},
			[]string{"net.a  a.go:1", "net.b  a.go:2", "...", "net.e  a.go:5"}},
		{"a lock", []string{"sync.runtime_SemacquireMutex  sema.go:1", "sync.(*Mutex).Lock  mutex.go:1", "db.Ping  db.go:1"},
			[]string{"db.Ping  db.go:1", "(it waits in sync.(*Mutex).Lock)"}},
		{"simnet", []string{"sync.runtime_notifyListWait  sema.go:1", "sync.(*Cond).Wait  cond.go:1",
			"example.com/go-sockettest/simnet.(*Conn).Read  conn.go:1", "db.Ping  db.go:1"},
			[]string{"db.Ping  db.go:1", "(it waits in simnet.(*Conn).Read)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, ends(tt.frames))
		})
	}
}
