package overall_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

var clients = flag.Int("clients", 200, "how many random clients are run, half of them on simnet")

// TestRandomClients runs random small clients, each with one known bug or none, against fixtures on
// the kernel and on simnet, and compares the verdicts of package sockettest with what really
// happened. What really happened is told by the client's own record, the packets on loopback and
// the descriptors of the process, never by package sockettest.
func TestRandomClients(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	manytests.NeedsMinTTL(t) // else the packets of a fixture's own filler would be a client's
	seen := capture(t)
	go machine.run(t)
	for i := range uint64(manytests.Rounds(*clients)) {
		seed := *first + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			tr := newExperiment(seed, seed%2 == 0)
			if tr.real {
				if testing.Short() && (tr.bug == late || tr.bug == leaksConn || tr.bug == leaksRoutine) {
					t.Skip("not with -short: its verdict takes 2 s on the kernel")
				}
				judge(t, tr, run(t, tr, nil, seen))
				return
			}
			synctest.Test(t, func(t *testing.T) { judge(t, tr, run(t, tr, simnet.New(t), seen)) })
		})
	}
}

// A finding is the truth of a experiment beside the verdict.
type finding struct {
	faults  []string // what is wrong with the client; none: it is correct
	said    string   // what sockettest said
	stalled bool     // the machine decided how the client ended, so that there is no truth to tell
}

// judge fails the test of a verdict that is not the truth.
func judge(t *testing.T, tr experiment, f finding) {
	t.Helper()
	switch {
	case f.stalled:
		t.Logf("undecided: the machine stalled\n%v", tr)
		return
	case len(f.faults) > 0 && f.said == "":
		t.Errorf("missed\n%v\n%v", tr, f.faults)
	case len(f.faults) == 0 && f.said != "":
		t.Errorf("blamed falsely\n%v\n%s", tr, f.said)
	case len(f.faults) == 0 && tr.bug != none:
		t.Errorf("a bug that does nothing\n%v", tr)
	}
	for _, fault := range f.faults {
		if word := words[fault]; len(f.faults) == 1 && !strings.Contains(f.said, word) {
			t.Errorf("%s, said without %q\n%v\n%s", fault, word, tr, f.said)
		}
	}
}

// The faults, and the word that names each in a report.
const (
	unreached = "never reached"
	leaked    = "leaked"
	wrong     = "wrong outcome"
	tooEarly  = "too early"
	tooLate   = "too late"
	panicked  = "panicked"
)

var words = map[string]string{unreached: "never reached", leaked: "leak:", wrong: "want", tooEarly: "too early", panicked: "panicked"}

// run is the test that a user would write for the client, with a look at the truth.
func run(t *testing.T, tr experiment, nw *simnet.Network, seen *packets) finding {
	rec := &record{hung: make(chan struct{})}
	c := &client{tr: tr, rec: rec, dial: (&net.Dialer{}).DialContext}
	sent, whole, stall, noted := -1, time.Duration(0), time.Duration(0), ""
	c.http = &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return c.connect(ctx, addr) }}
	var opts []sockettest.Option
	if nw != nil {
		c.dial, opts = nw.DialContext, append(opts, sockettest.On(nw))
	}
	tb := faketb.Run(t, func(tb *faketb.TB) {
		sockettest.NoLeaks(tb)
		ep := sockettest.Start(tb, tr.over(), opts...)
		c.addr = ep.Addr()
		ready := fixtures.ConnAccepted
		if tr.tls {
			ready = fixtures.Secured // after which the server sends nothing more of its own
		}
		if err := c.begins(tb.Context(), func() error { return ep.Await(tb.Context(), ready, 1) }); err != nil {
			tb.Fatalf("open: %v", err)
		}
		rec.dials = 0
		if tr.real {
			seen.begin(c.addr)
		}
		rec.writes = 0
		begin, lost := time.Now(), machine.lost()
		noted = sockettest.Expect(tb, ep, tr.want(), c.call).Note
		whole, stall = time.Since(begin), machine.lost()-lost
		if tr.real {
			sent = seen.end(t, c.addr)
		}
		c.close()
	})
	f := finding{faults: tr.faults(rec, sent), said: tb.Text()}
	if f.said == "" && !tr.shown() {
		f.said = strings.ReplaceAll(noted, "contact not visible", unreached+", or")
	}
	f.stalled = tr.real && tr.stalled(rec, sent, whole, stall)
	rec.letGo(c)
	return f
}

// faults is what is wrong with the client. sent counts the packets that reached the fixture's
// address during the call; negative: nobody looked.
func (tr experiment) faults(rec *record, sent int) []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var list []string
	if sent == 0 || (sent < 0 || tr.old != untouched) && rec.dials+rec.writes == 0 {
		list = append(list, unreached)
	}
	if rec.hanging || anyOpen(rec.conns) {
		list = append(list, leaked)
	}
	switch {
	case tr.bug == panics:
		list = append(list, panicked)
	case rec.ended != tr.ends():
		list = append(list, wrong)
	case tr.ends() == timeout && rec.elapsed < tr.limit:
		list = append(list, tooEarly)
	case tr.bug == late:
		list = append(list, tooLate)
	}
	return list
}

// stalled reports whether the machine was too slow for the client's limits: a correct client that
// ended in another way, a bug that had no time to show, one that is early and yet took as long, or
// late by little more than the machine; one whose attempts all failed, so that it returned what a
// correct one does; or any that is not late by itself, and took longer than a machine is excused.
func (tr experiment) stalled(rec *record, sent int, whole, stall time.Duration) bool {
	switch {
	case tr.bug == late:
		return stall > tr.lateness()/4
	case rec.elapsed > tr.latest():
		return true
	case tr.bug == swallows:
		return rec.ended == tr.ends() && rec.elapsed >= tr.limit
	case sent == 0 && rec.dials > 0: // its time was up before the first SYN
		return true
	case tr.bug == early:
		return rec.elapsed >= tr.limit || whole >= tr.limit
	case tr.bug == leaksConn:
		return !anyOpen(rec.conns)
	}
	return tr.bug == none && rec.ended != tr.ends()
}

func anyOpen(conns []*tracked) bool {
	for _, c := range conns {
		if c.open() {
			return true
		}
	}
	return false
}

// letGo ends what was leaked.
func (r *record) letGo(c *client) {
	close(r.hung)
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	c.http.CloseIdleConnections()
}

// A meter adds up how long the machine did not run a goroutine that was ready.
type meter struct{ sum atomic.Int64 }

var machine meter

func (m *meter) lost() time.Duration { return time.Duration(m.sum.Load()) }

// run measures until the test has ended.
func (m *meter) run(t *testing.T) {
	const step = 10 * time.Millisecond
	tick := time.NewTimer(step)
	for due := time.Now().Add(step); ; due = time.Now().Add(step) {
		select {
		case <-t.Context().Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		if late := time.Since(due); late > step {
			m.sum.Add(int64(late))
		}
		tick.Reset(step)
	}
}

// packets counts what loopback carries to some addresses. Nil counts nothing.
type packets struct {
	mu     sync.Mutex
	sent   map[netip.AddrPort]int           // by the fixture's address
	passed map[netip.AddrPort]chan struct{} // by a marker's source: closed when the marker was seen
	lost   func() bool                      // reports whether some were not counted since the last call
}

func capture(t *testing.T) *packets {
	p := &packets{sent: map[netip.AddrPort]int{}, passed: map[netip.AddrPort]chan struct{}{}}
	stop, lost, err := rawsock.Capture(p.count)
	if err != nil {
		t.Logf("without packets, by the client's own record: %v", err)
		return nil
	}
	t.Cleanup(stop)
	p.lost = lost
	return p
}

// count takes SYNs, data, and markers: datagrams that say that all before them has been counted.
func (p *packets) count(pk rawsock.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, counted := p.sent[pk.To]; counted && !pk.UDP && (pk.SYN || pk.Bytes > 0) {
		p.sent[pk.To]++
	}
	if marker := p.passed[pk.From]; marker != nil && pk.UDP {
		close(marker)
		delete(p.passed, pk.From)
	}
}

// begin counts from now on.
func (p *packets) begin(addr string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[netip.MustParseAddrPort(addr)] = 0
}

// end returns how much has reached the address since begin; negative if nobody counted all of it.
func (p *packets) end(t *testing.T, addr string) int {
	if p == nil {
		return -1
	}
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return -1
	}
	defer func() { _ = c.Close() }()
	seen := make(chan struct{})
	p.mu.Lock()
	p.passed[netip.MustParseAddrPort(c.LocalAddr().String())] = seen
	p.mu.Unlock()
	again := time.NewTicker(100 * time.Millisecond) // a packet may be lost to the capture, or spent on an ICMP error
	defer again.Stop()
	for {
		_, _ = c.Write([]byte("over"))
		select {
		case <-seen:
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.lost() {
				clear(p.sent) // nobody knows of whom
			}
			n, counted := p.sent[netip.MustParseAddrPort(addr)]
			delete(p.sent, netip.MustParseAddrPort(addr))
			if !counted {
				return -1
			}
			return n
		case <-again.C:
		}
	}
}
