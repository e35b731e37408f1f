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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
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
		{`\b(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b`, "TIME"},
		{`(?m)^  +[+-]TIME`, "  +TIME"},
		{`window   0 [-=X]+ TIME`, "window   BAR"},
		{`\.go:\d+`, ".go:LINE"},
		{`sockettest\.Test[\w.]+\.dialing\.`, "sockettest.dialing."},            // Go 1.26 names a closure by where it was inlined
		{`sockettest\.\S*(patient|serving|serverBugs)\S*  `, "sockettest.$1  "}, // for the same reason
		{`\*(poll\.DeadlineExceededError|net\.timeoutError)`, "*TIMEOUT"},       // a coin toss of package net
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

// A server's goroutines are those that this test has started, or the test around it.
func TestServersInADump(t *testing.T) {
	t.Parallel()
	const read = "net.(*netFD).Read(0x1)\n\t/go/net/fd.go:1 +0x1\n"
	waits := func(id, creator, frames string) string {
		return "goroutine " + id + " [IO wait]:\n" + frames + "created by x.Go in goroutine " + creator + "\n\t/x/x.go:1 +0x1"
	}
	test := func(id, creator string) string {
		return waits(id, creator, "x.Test(0x1)\n\t/x/x_test.go:1 +0x1\ntesting.tRunner(0x1)\n\t/go/testing/testing.go:1 +0x1\n")
	}
	dump := strings.Join([]string{
		test("1", "0"), test("2", "1"), test("3", "1"),
		waits("4", "2", read+"x.loop()\n\t/x/x.go:2 +0x1\n"), waits("5", "4", read+"x.serve()\n\t/x/x.go:3 +0x1\n"),
		waits("6", "4", read+"x.serve()\n\t/x/x.go:3 +0x1\n"), waits("7", "3", read+"x.neighbour()\n\t/x/x.go:4 +0x1\n"),
		waits("8", "2", read+fixturesPath+".(*Conn).Read(0x1)\n\t/x/f.go:1 +0x1\n"), waits("9", "99", read+"x.stranger()\n\t/x/x.go:5 +0x1\n"),
	}, "\n\n")
	reads := "(it waits in net.(*netFD).Read)"
	assert.Equal(t, []string{"x.serve  x.go:3", reads, "and in x.loop  x.go:2", reads}, serversIn(dump, "goroutine 2"))
	assert.Equal(t, []string{"x.neighbour  x.go:4", reads}, serversIn(dump, "goroutine 3"))
	around := strings.Replace(dump, "created by x.Go in goroutine 2\n\t/x/x.go:1 +0x1\n\ngoroutine 5", "created by x.Go in goroutine 1\n\t/x/x.go:1 +0x1\n\ngoroutine 5", 1)
	assert.Len(t, serversIn(around, "goroutine 2"), 4, "what the test around it has started")
	assert.Empty(t, serversIn(dump, "goroutine 1"))
}

func TestEndsOfAStack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		frames, want []string
	}{
		{"none", nil, nil},
		{"short", []string{"net.(*conn).Read  net.go:1", "db.Ping  db.go:1"}, []string{"db.Ping  db.go:1", "(it waits in net.(*conn).Read)"}},
		{"it looks whether it must wait", []string{"syscall.Syscall  asm.go:1", "syscall.read  z.go:1", "syscall.Read  s.go:1",
			"net.(*netFD).Read  fd.go:1", "net.(*conn).Read  net.go:1", "db.Ping  db.go:1"},
			[]string{"db.Ping  db.go:1", "(it waits in net.(*conn).Read, there in net.(*netFD).Read)"}},
		{"a system call of the client's", []string{"syscall.read  z.go:1", "syscall.Read  s.go:1", "db.Ping  db.go:1"},
			[]string{"db.Ping  db.go:1", "(it waits in syscall.Read, there in syscall.read)"}},
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

// did is the result of an operation that took n seconds.
func did(o Outcome, phase string, n int) Result {
	return Result{Outcome: o, Phase: phase, Elapsed: time.Duration(n) * time.Second}
}

func TestHistoryTellsTheOtherOperations(t *testing.T) {
	t.Parallel()
	var h history
	assert.Empty(t, h.others("TestTable"))
	h.note("TestTable/slow", did(TimedOut, "read", 3), true)
	h.note("TestOther", did(ResetByPeer, "read", 1), false)
	h.note("TestTable", did(Accepted, unknownPhase, 1), false)
	h.note("TestTable/own", did(Other, "dial", 2), true)
	assert.Equal(t, "3 operations before this in TestTable: slow FAILED (timed out in read, 3s); ok (accepted, 1s); "+
		"own FAILED (an error of its own in dial, 2s)", h.others("TestTable/next/deeper"))
	assert.Equal(t, "3 operations before this in TestTable: slow FAILED (timed out in read, 3s); ok (accepted, 1s); "+
		"FAILED (an error of its own in dial, 2s)", h.others("TestTable/own"), "its own have no name")
	assert.Equal(t, "1 operation before this in TestOther: ok (reset in read, 1s)", h.others("TestOther"))
	assert.Empty(t, h.others("TestTabl"), "no other test's")
}

// Of many operations the latest are told, in their order.
func TestHistoryKeepsTheLatestOperations(t *testing.T) {
	t.Parallel()
	var h history
	for i := range keepRows {
		h.note("TestTable", did(Accepted, unknownPhase, i+1), false)
	}
	assert.Contains(t, h.others("TestTable"), "8 operations before this in TestTable: ok (accepted, 1s); ok (accepted, 2s); ")
	for i := range 3 {
		h.note("TestTable", did(Accepted, unknownPhase, keepRows+i+1), false)
	}
	want := []string{"11 operations before this in TestTable, the last 8: ok (accepted, 4s)"}
	for i := 5; i <= 11; i++ {
		want = append(want, fmt.Sprintf("ok (accepted, %ds)", i))
	}
	assert.Equal(t, strings.Join(want, "; "), h.others("TestTable"))
}

// Of many tests the one that was seen first is forgotten.
func TestHistoryKeepsTheLatestTests(t *testing.T) {
	t.Parallel()
	var h history
	for i := range keepTests + 1 {
		h.note(fmt.Sprint("Test", i), did(Accepted, unknownPhase, 1), false)
	}
	assert.Empty(t, h.others("Test0"))
	for i := range keepTests {
		assert.NotEmpty(t, h.others(fmt.Sprint("Test", i+1)))
	}
}

// A test that runs again (go test -count) has nothing of its earlier run.
func TestHistoryForgetsAnEarlierRun(t *testing.T) {
	t.Parallel()
	var h history
	h.ended("TestTable") // of which nothing is known
	h.note("TestTable/a", did(ResetByPeer, "read", 1), false)
	h.note("TestTable/b", did(ResetByPeer, "read", 2), false)
	h.ended("TestTable/a")
	h.ended("TestTable/a")
	assert.Equal(t, "2 operations before this in TestTable: a ok (reset in read, 1s); ok (reset in read, 2s)", h.others("TestTable/b"))
	h.note("TestTable/a", did(ResetByPeer, "read", 3), false)
	assert.Equal(t, "1 operation before this in TestTable: ok (reset in read, 3s)", h.others("TestTable/a"))
	h.ended("TestTable/a")
	assert.Empty(t, h.others("TestTable/a"))
}

// The call's start comes before all that has happened since, also where nothing says at which event
// it began.
func TestTimelineBeginsWithTheCall(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	at := func(d time.Duration, k fixtures.EventKind) fixtures.Event {
		return fixtures.Event{At: d, Kind: k, Conn: 1}
	}
	accepted, received := at(2*ms, fixtures.ConnAccepted), at(3*ms, fixtures.Received)
	for _, tt := range []struct {
		name   string
		from   time.Duration
		events []fixtures.Event
		before int
	}{
		{"all since", 1 * ms, []fixtures.Event{accepted, received}, 0},
		{"at the same instant", 2 * ms, []fixtures.Event{accepted, received}, 0},
		{"between", 2*ms + 1, []fixtures.Event{accepted, received}, 1},
		{"all before", 4 * ms, []fixtures.Event{accepted, received}, 2},
		{"known", 2 * ms, []fixtures.Event{accepted, at(2*ms, fixtures.Looked), received}, 1},
		{"after what came since the look", 3 * ms, []fixtures.Event{at(1*ms, fixtures.Looked), accepted, received}, 1},
		{"known as the first", 2 * ms, []fixtures.Event{at(2*ms, fixtures.Looked), accepted, received}, 0},
	} {
		f := failure{from: tt.from, events: tt.events, result: Result{Outcome: Accepted, Elapsed: time.Second}, tested: "client"}.upToVerdict()
		assert.Contains(t, f.timeline()[tt.before], "the call under test starts", tt.name)
	}
}

// A failing report does not say that nothing was seen of what the fixture has yet to read.
func TestReportLooksAgain(t *testing.T) {
	t.Parallel()
	waiting, looks := reach{looked: true, seen: fixtures.Contact{Waiting: true}}, 0
	require.Contains(t, waiting.text(), "not visible")
	waiting.lookAgain(func() fixtures.Contact {
		looks++
		return fixtures.Contact{Waiting: true, Came: looks == 3}
	})
	assert.Equal(t, 3, looks)
	assert.Empty(t, waiting.text())
}

// The report's last part, on data of every shape.
func TestReportShowsSockets(t *testing.T) {
	t.Parallel()
	addr := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	open := network.SocketInfo{State: "ESTABLISHED", RTO: 201 * time.Millisecond, SendWindow: 65536, ReceiveWindow: 65536}
	full, stuck := open, open
	full.Unread, full.ReceiveWindow = 1152, 0
	stuck.Unacked, stuck.Retransmits, stuck.RTO, stuck.SendWindow = 29376, 3, 816*time.Millisecond, 0
	dial := network.SocketInfo{State: "SYN-SENT", Retransmits: 1, RTO: 2 * time.Second, ReceiveWindow: 65495}
	fin := open
	fin.State = "CLOSE-WAIT"
	sockets := []fixtures.Sockets{
		{Conn: 1, Local: addr(37461), Peer: addr(40000), Own: &full, Other: &stuck},
		{Conn: 12, Local: addr(37461), Peer: addr(40002), Own: &fin},
		{Local: addr(37461), Peer: addr(40004), Other: &dial},
		{Local: addr(37461), Peer: addr(40006), Other: &dial},
		{Local: addr(37461), Peer: addr(40008), Other: &dial},
		{Local: addr(37461), Peer: addr(40010), Other: &dial},
		{Local: addr(37461), Peer: addr(40012), Other: &dial},
	}
	for _, tt := range []struct {
		name    string
		sockets []fixtures.Sockets
	}{{"many", sockets}, {"one", sockets[:1]}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Result{Outcome: Blocked, Phase: "write", Elapsed: time.Second, unblocked: true, sockets: tt.sockets}
			golden(t, failure{headline: "write: still blocked, want timed out", want: TimedOut.After(limit), slack: defaultSlack,
				result: r, tested: "client", fixture: "NeverRead{} on 127.0.0.1:37461",
				events: []fixtures.Event{{Kind: fixtures.Bound, Note: "listening"}}}.String())
		})
	}
}

// What the kernel says when an assertion fails: of a write that is blocked, and of a dial that
// nobody answers, before they are let go.
func TestExpectShowsSockets(t *testing.T) {
	manytests.KernelTimer(t)
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
		there   func(fixtures.Sockets) bool
	}{
		{"blocked write", fixtures.NeverRead{}, func(s fixtures.Sockets) bool {
			return s.Own != nil && s.Own.Unread > 0 && s.Other != nil && s.Other.Unacked > 0
		}},
		{"hung dial", fixtures.BlackHole{}, func(s fixtures.Sockets) bool { return s.Other != nil && s.Other.Retransmits > 0 }},
		{"in the accept queue", fixtures.NeverAccept{}, func(s fixtures.Sockets) bool { return s.Other != nil && s.Other.Retransmits > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needInfo(t)
			if tt.name == "hung dial" {
				manytests.NeedsMinTTL(t)
			}
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, tt.fixture)
				done := make(chan error, 1)
				go func() { // before Expect, however long it takes to get there
					c, err := net.Dial("tcp", ep.Addr())
					if err == nil {
						defer c.Close()
						_, err = c.Write(make([]byte, 64<<20)) // more than any buffer takes
					}
					done <- err
				}()
				assert.Eventually(t, func() bool { return slices.ContainsFunc(ep.Sockets(), tt.there) }, time.Minute, time.Millisecond)
				Expect(tb, ep, Accepted.Before(limit).Slack(0), func() error { return <-done })
			})
			golden(t, socketsOnly(steady(tb.Text())))
		})
	}
}

// The same for a client that misbehaves: its peer is the server under test.
func TestExpectEndShowsSockets(t *testing.T) {
	manytests.Long(t, "it waits a second beyond the window")
	t.Parallel()
	needInfo(t)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	tb := faketb.Run(t, func(tb *faketb.TB) {
		a := Start(tb, hostile.ConnectOnly{Target: ln.Addr().String()})
		ExpectEnd(tb, a, Disconnected.Before(limit).Slack(0))
	})
	golden(t, socketsOnly(steady(tb.Text())))
}

// needInfo skips where the system does not show both ends of a connection.
func needInfo(t *testing.T, opts ...Option) {
	t.Helper()
	ep := Start(t, fixtures.Echo{}, opts...)
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
	if _, err := ep.Conns()[0].Info(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
}

// socketsOnly leaves out what other tests look at.
func socketsOnly(text string) string {
	_, sockets, _ := strings.Cut(text, "\n  sockets ")
	return "  sockets " + sockets
}

// What is on its way on other connections, or of one whose ends are not both shown, does not count.
func TestReadingCountsItsOwnConnection(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.Echo{}, On(simnet.New(t)))
	_, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
	info := &network.SocketInfo{Unread: 3, Unacked: 4}
	r := Result{sockets: []fixtures.Sockets{{Conn: 2, Own: info, Other: info}, {Conn: 1, Own: info}, {Conn: 1, Other: info}}}
	assert.Contains(t, reading(ep.Conns()[0], r, 20, 0).text, "20 B taken")
	r.sockets = append(r.sockets, fixtures.Sockets{Conn: 1, Own: info, Other: info})
	assert.Contains(t, reading(ep.Conns()[0], r, 20, 0).text, "13 B taken")
	assert.Equal(t, dripping, reading(ep.Conns()[0], Result{}, 64<<10, 0).kind)
	assert.Equal(t, flooded, reading(ep.Conns()[0], Result{}, 64<<10+1, 0).kind)
}

func TestQueueOfNoneDoesNotWait(t *testing.T) {
	t.Parallel()
	assert.False(t, queue{}.look())
}

// A watch that is over is nobody's heir, and its label is forgotten.
func TestWatchThatIsOver(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	go func() { // whose label it is
		defer close(done)
		w := WatchLeaks()
		label := w.label
		w.Close()
		assert.False(t, w.inherits(map[string][]string{"of another": nil}))
		watches.mu.Lock()
		defer watches.mu.Unlock()
		assert.NotContains(t, watches.labels, label)
	}()
	<-done
}
