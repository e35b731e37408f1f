package sockettest_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// soon is how long a client in these tests waits for a fixture that does not answer.
const soon = 30 * time.Millisecond

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// expecting runs Expect with a fixture that is started by tb.
type expecting func(want sockettest.Want, op func(context.Context) error) sockettest.Result

// A kind is a sort of fixture, and how a client comes to it.
type kind struct {
	name    string
	silent  bool // the kernel shows no connect to it
	network string
	start   func(tb testing.TB, opts ...sockettest.Option) (expecting, string)
}

func stream(name string, f fixtures.Fixture) kind {
	return kind{name: name, network: "tcp", start: func(tb testing.TB, opts ...sockettest.Option) (expecting, string) {
		ep := sockettest.Start(tb, f, opts...)
		return func(want sockettest.Want, op func(context.Context) error) sockettest.Result {
			return sockettest.Expect(tb, ep, want, op)
		}, ep.Addr()
	}}
}

func datagram(name string, f udp.Fixture) kind {
	return kind{name: name, network: "udp", start: func(tb testing.TB, opts ...sockettest.Option) (expecting, string) {
		ep := sockettest.Start(tb, f, opts...)
		return func(want sockettest.Want, op func(context.Context) error) sockettest.Result {
			return sockettest.Expect(tb, ep, want, op)
		}, ep.Addr()
	}}
}

func nameServer(name, network string) kind {
	return kind{name: name, network: network, start: func(tb testing.TB, opts ...sockettest.Option) (expecting, string) {
		ep := sockettest.Start(tb, dnsfault.Silent{}, opts...)
		return func(want sockettest.Want, op func(context.Context) error) sockettest.Result {
			return sockettest.Expect(tb, ep, want, op)
		}, ep.Addr()
	}}
}

func half(name string, of func(*fixtures.DualEndpoint) *fixtures.Endpoint) kind {
	return kind{name: name, network: "tcp", start: func(tb testing.TB, opts ...sockettest.Option) (expecting, string) {
		ep := sockettest.Start(tb, fixtures.Dual{}, opts...)
		return func(want sockettest.Want, op func(context.Context) error) sockettest.Result {
			return sockettest.Expect(tb, ep, want, op)
		}, of(ep).Addr()
	}}
}

// hidden is a kind that the kernel gives no sign of.
func hidden(k kind) kind {
	k.silent = true
	return k
}

func kinds() []kind {
	return []kind{
		stream("BlackHole", fixtures.BlackHole{}),
		hidden(stream("BoundOnly", fixtures.BoundOnly{})),
		stream("Close", fixtures.Close{}),
		stream("Discard", fixtures.Discard{}),
		stream("Drip", fixtures.Drip{Data: "x"}),
		stream("Echo", fixtures.Echo{}),
		stream("FullBacklog", fixtures.FullBacklog{}),
		stream("HalfClose", fixtures.HalfClose{}),
		stream("NeverAccept", fixtures.NeverAccept{}),
		stream("NeverRead", fixtures.NeverRead{}),
		hidden(stream("Refused", fixtures.Refused{})),
		stream("Reset", fixtures.Reset{}),
		stream("Scripted", fixtures.Scripted{Steps: script.Script{script.Read(2)}}),
		stream("Sequence", fixtures.Sequence{fixtures.Reset{}, fixtures.Echo{}}),
		stream("Silent", fixtures.Silent{}),
		stream("SlowAccept", fixtures.SlowAccept{Delay: time.Hour}),
		stream("SlowHandshake", fixtures.SlowHandshake{Delay: time.Hour}),
		stream("Truncate", fixtures.Truncate{AfterWritten: 1}),
		stream("httpfault.Stall", httpfault.Stall{}),
		stream("tlsfault.Stall", tlsfault.Stall{}),
		half("Dual, IPv4", func(e *fixtures.DualEndpoint) *fixtures.Endpoint { return e.IPv4 }),
		half("Dual, IPv6", func(e *fixtures.DualEndpoint) *fixtures.Endpoint { return e.IPv6 }),
		datagram("udp.Echo", udp.Echo{}),
		datagram("udp.Silent", udp.Silent{}),
		hidden(datagram("udp.Refused", udp.Refused{})),
		nameServer("dnsfault over UDP", "udp"),
		nameServer("dnsfault over TCP", "tcp"),
	}
}

// errOwn is a client's error that tells nothing of what it hides.
var errOwn = errors.New("cannot")

// apart is an [sockettest.Option] for datagrams: on the kernel's network, an address at which none
// comes from a stranger for whoever had the port before.
func apart(w *fixtures.Place) {
	if w.Stack == nil || w.Stack == sockettest.Kernel {
		w.Address = net.JoinHostPort(manytests.OwnLoopback().String(), "0")
	}
}

// visit is one operation of a client: it connects, sends a byte, and waits a moment for an answer.
func visit(dial dialFunc, network, addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(soon))
		_, err = c.Read(make([]byte, 1))
		return err
	}
}

// kernelDial gives up a connect soon after it has begun, and not before, however late it begins.
func kernelDial(ctx context.Context, network, addr string) (net.Conn, error) {
	for {
		begun := false
		d := net.Dialer{Timeout: soon, Control: func(string, string, syscall.RawConn) error { begun = true; return nil }}
		c, err := d.DialContext(ctx, network, addr)
		if begun || ctx.Err() != nil {
			return c, err
		}
	}
}

// A reachRow is an operation, and what Expect says of it.
type reachRow struct {
	name   string
	op     func(there, elsewhere func(context.Context) error) func(context.Context) error
	want   sockettest.Want
	shown  string // the failure; empty for none
	hidden string // where the kernel does not show connects
}

var reachRows = []reachRow{
	{"never dials", stays, sockettest.ErrorIs(errOwn), "the fixture was never reached: saw no ", notVisible},
	{"dials another", dialsAnother, sockettest.ErrorIs(errOwn), "; the error names ", "; the error names "},
	{"dials another, hides it", hidesAnother, sockettest.ErrorIs(errOwn), "the fixture was never reached: saw no ", notVisible},
	{"dials it", dialsIt, sockettest.ErrorIs(errOwn), "", ""},
	{"dials it, hides it", hidesIt, sockettest.ErrorIs(errOwn), "", notVisible},
	{"stays away", stays, sockettest.ErrorIs(errOwn).Unreached(), "", cannotTell},
	{"does not stay away", hidesIt, sockettest.ErrorIs(errOwn).Unreached(), "the fixture was reached, want", cannotTell},
}

const (
	notVisible = "contact not visible: " // no failure, but a note
	cannotTell = "contact not visible, and Unreached wanted"
)

func stays(_, _ func(context.Context) error) func(context.Context) error {
	return func(context.Context) error { return errOwn }
}

func dialsIt(there, _ func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return errors.Join(errOwn, there(ctx)) }
}

func dialsAnother(_, elsewhere func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return errors.Join(errOwn, elsewhere(ctx)) }
}

func hidesIt(there, _ func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { _ = there(ctx); return errOwn }
}

func hidesAnother(_, elsewhere func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { _ = elsewhere(ctx); return errOwn }
}

// checkReach runs all rows with all kinds of fixtures, at once.
func checkReach(t *testing.T, kinds []kind, dial dialFunc, elsewhere map[string]string, kernel bool, opts ...sockettest.Option) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, 24) // more at a time would be a storm for tests beside this one
	for _, k := range kinds {
		for _, row := range reachRows {
			wanted := row.shown
			if k.silent && kernel {
				wanted = row.hidden
			}
			turns <- struct{}{}
			wg.Go(func() {
				defer func() { <-turns }()
				row.check(t, k, kernel, wanted, dial, elsewhere[k.network], opts...)
			})
		}
	}
	wg.Wait()
}

func (row reachRow) check(t *testing.T, k kind, kernel bool, wanted string, dial dialFunc, elsewhere string, opts ...sockettest.Option) {
	var r sockettest.Result
	tb := faketb.Run(t, func(tb *faketb.TB) {
		if k.network == "udp" {
			opts = append(opts[:len(opts):len(opts)], apart)
		}
		expect, addr := k.start(tb, opts...)
		r = expect(row.want, row.op(visit(dial, k.network, addr), visit(dial, k.network, elsewhere)))
	})
	if tb.Skipped() { // Dual, on a host without IPv6
		t.Logf("%s: %s: %s", k.name, row.name, tb.Reason())
		return
	}
	if wanted == "" || wanted == notVisible {
		assert.Empty(t, tb.Text(), "%s: %s", k.name, row.name)
		assert.Equal(t, wanted, r.Note[:min(len(notVisible), len(r.Note))], "%s: %s", k.name, row.name)
		return
	}
	assert.Contains(t, tb.Text(), wanted, "%s: %s", k.name, row.name)
}

func TestReachedOnTheKernel(t *testing.T) {
	manytests.Long(t, "of its 189 calls 81 are waited for")
	t.Parallel()
	checkReach(t, kinds(), kernelDial, map[string]string{
		"tcp": sockettest.Start(t, fixtures.Refused{}).Addr(),
		"udp": sockettest.Start(t, udp.Refused{}).Addr(),
	}, true)
}

func TestReachedOverUnixSockets(t *testing.T) {
	t.Parallel()
	kinds := []kind{
		stream("Echo", fixtures.Echo{}), stream("Silent", fixtures.Silent{}), stream("NeverAccept", fixtures.NeverAccept{}),
		stream("FullBacklog", fixtures.FullBacklog{}), hidden(stream("Refused", fixtures.Refused{})),
		hidden(stream("NoSocket", fixtures.NoSocket{})),
	}
	for i := range kinds {
		kinds[i].network = "unix"
	}
	elsewhere := map[string]string{"unix": filepath.Join(t.TempDir(), "none")}
	checkReach(t, kinds, kernelDial, elsewhere, true, sockettest.Family("unix"))
}

// A simulated network shows all.
func TestReachedOnSimnet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := simnet.New(t)
		nowhere := map[string]string{"tcp": "127.0.0.1:1", "udp": "127.0.0.1:1"}
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, soon)
			defer cancel()
			return nw.DialContext(ctx, network, addr)
		}
		checkReach(t, kinds(), dial, nowhere, false, sockettest.On(nw))
	})
}
