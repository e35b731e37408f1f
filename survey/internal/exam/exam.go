// Package exam puts a client through situations on the kernel's loopback and, in virtual time, on a simulated network, and
// judges what becomes of each: the outcome, the time, and what is left behind.
//
// It knows no client. What a client is told, and which of its knobs, lives in the client's own directory.
package exam

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// Most tests wait, so that many run at once, unless -parallel says how many.
func init() {
	testing.Init()
	_ = flag.Set("test.parallel", "64")
}

// The situations that every client is put in.
const (
	Refused     = "connect refused"
	BlackHoled  = "connect black-holed"
	Unanswered  = "accepted, then silent"
	ResetMidway = "reset mid-handshake"
	WentSilent  = "established, then silent"
)

// The situations of a client that speaks TLS from the first byte. Before TLS and after it, it is in those above.
const (
	Stalled       = "TLS handshake stalled" // once the server has begun its part
	Untrusted     = "TLS certificate not trusted"
	SecuredSilent = "TLS established, then silent"
)

const (
	kernelLimit = 300 * time.Millisecond // the knob, in real time: a client that takes it twice is later than the slack allows
	bubbleLimit = 30 * time.Second       // the knob, in virtual time: as one would set it
	ample       = time.Minute            // the knob, in real time, where it is not to play
	settle      = 5 * time.Second        // what a client that is closed may take to end its connections
	securing    = time.Second            // what a TLS handshake may take of a busy machine's time
	prompt      = 5 * time.Second        // far from ample, and far from what a busy machine makes of "at once"
)

// A Case is a client in one situation.
type Case struct {
	Name    string           // one of the situations above, or one of the client's own
	Fixture fixtures.Fixture // the situation
	Knob    string           // which setting of the client bounds it, for the table in README.md
	Want    Want             // how it ends, and when

	// Op prepares the client, outside of what is timed, and returns the call that is judged. What it opens, it closes with
	// t.Cleanup. The client's knob is p.Limit, and in a bubble its dial function p.DialContext.
	Op func(t testing.TB, p Place) func(context.Context) error

	KernelOnly string        // why it cannot run on simnet; empty means that it does
	SimnetOnly string        // why it does not run on the kernel; empty means that it does
	Limit      time.Duration // the knob on the kernel, instead of 300 ms
	Armed      string        // why it is of no use without its fault, in a disarmed run; empty means that it is
	Leak       string        // what NoLeaks says of this client today; FINDINGS.md tells of it
	Lingers    string        // the test that tells why a connection may be open 5 s after the client was closed; empty means that none is
}

// A Place is where a case runs.
type Place struct {
	*fixtures.Endpoint
	Virtual bool          // in a bubble: dial with DialContext, nothing else leads to the fixture
	Limit   time.Duration // what the client's knob is to be set to
}

// Run runs each case as parallel subtests, on the kernel, and on simnet in a bubble, and checks that README.md tells of it.
func Run(t *testing.T, client Client, cases []Case) {
	t.Helper()
	for _, c := range cases {
		c.tabled(t, client)
		c.Fixture = c.fixture(client)
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if c.SimnetOnly == "" {
				t.Run("kernel", func(t *testing.T) {
					t.Parallel()
					c.judge(t, Place{Limit: c.kernelLimit()})
				})
			}
			if c.KernelOnly == "" {
				t.Run("simnet", func(t *testing.T) {
					t.Parallel()
					sockettest.Bubble(t, func(t *testing.T) { c.judge(t, Place{Limit: bubbleLimit, Virtual: true}) })
				})
			}
		})
	}
}

// kernelLimit is ample where the knob is not to play: a machine that stalls must not make it.
func (c Case) kernelLimit() time.Duration {
	switch {
	case c.Want.limits == 0 && !c.Want.never:
		return ample
	case c.Limit > 0:
		return c.Limit
	}
	return kernelLimit
}

// judge runs the case. Of a client that leaks it wants the leak, so that the day on which it is mended is seen.
func (c Case) judge(t *testing.T, p Place) {
	t.Helper()
	if c.Leak == "" {
		c.run(t, p)
		return
	}
	tb := faketb.Run(t, func(tb *faketb.TB) { c.run(tb, p) })
	if tb.Skipped() {
		t.Skip(tb.Reason())
	}
	assert.Contains(t, tb.Text(), c.Leak, "the leak that FINDINGS.md tells of")
}

func (c Case) run(t testing.TB, p Place) {
	t.Helper()
	if c.Armed != "" {
		sockettest.Armed(t, c.Armed)
	}
	sockettest.NoLeaks(t)
	var options []sockettest.Option
	if p.Virtual {
		options = append(options, sockettest.On(simnet.New(t)))
	}
	p.Endpoint = sockettest.Start(t, c.Fixture, options...)
	if !c.Want.never && c.Leak == "" && c.Lingers == "" {
		t.Cleanup(func() { left(t, p) }) // after the client's own, and before the fixture closes, which would end what is left
	}
	sockettest.Expect(t, p.Endpoint, c.Want.in(p), c.Op(t, p))
}

// left looks for connections that the client holds although it is closed. NoLeaks looks when the fixture is closed too, and
// forgives those that end with it.
func left(t testing.TB, p Place) {
	t.Helper()
	if t.Failed() || t.Skipped() {
		return
	}
	open := p.open()
	for end := time.Now().Add(settle); len(open) > 0 && time.Now().Before(end); open = p.open() {
		<-time.NewTimer(10 * time.Millisecond).C
	}
	assert.Empty(t, open, "connections that the client holds, though it is closed")
}

// open returns the connections that nobody has ended: neither the client nor the fixture.
func (p Place) open() []string {
	var open []string
	for _, c := range p.Conns() {
		end, _ := c.PeerEnd()
		if sockets, ours := c.Sockets(); ours && end == fixtures.Open && !closed(sockets.Other) {
			open = append(open, c.String())
		}
	}
	return open
}

// closed reports whether the client has closed its end, though its FIN did not arrive, as when the connection was cut.
func closed(other *network.SocketInfo) bool {
	return other != nil && other.State != "ESTABLISHED" && other.State != "CLOSE-WAIT"
}
