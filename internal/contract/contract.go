// Package contract is what every fixture must pass, whatever package it is of: a fixture that needs
// an exception is not ready. It takes the rows of package probe, and runs each on every network
// that has the fixture.
package contract

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/costs"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// limit is what no judge takes, however busy the machine.
const limit = time.Minute

// Check runs the contract for the rows of a package, all at once.
func Check(t *testing.T, rows []probe.Row) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, r probe.Row, w fixtures.Place)
	}{
		{"BehavesAsItsNameSays", behaves},
		{"StaysOnLoopback", staysOnLoopback},
		{"TellsWhatItIs", tellsWhatItIs},
		{"TellsEventsInOrder", tellsEventsInOrder},
		{"ClosesTwice", closesTwice},
		{"LetsGoWhoWaits", letsGo},
		{"HoldsItsPort", holdsPort},
		{"CountsAttempts", countsAttempts},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			each(t, rows, c.f)
		})
	}
	t.Run("BecomesAnyOther", func(t *testing.T) { t.Parallel(); becomesAnyOther(t, rows) })
	t.Run("RefusesBadFieldsByName", func(t *testing.T) { t.Parallel(); refusesBadFields(t, rows) })
	t.Run("ZeroValueSaysWhatItNeeds", func(t *testing.T) { t.Parallel(); zeroValue(t, rows) })
	t.Run("TellsWhoEnded", func(t *testing.T) { t.Parallel(); tellsWhoEnded(t, rows) })
}

// each runs f for each row: on the kernel's networks, and in virtual time. With -short on the first
// of its networks alone: what differs among them is tested in the full run.
func each(t *testing.T, rows []probe.Row, f func(t *testing.T, r probe.Row, w fixtures.Place)) {
	for _, r := range rows {
		networks := r.Networks()
		if testing.Short() {
			networks = networks[:1]
		}
		for _, family := range networks {
			t.Run(r.String()+"/"+family, func(t *testing.T) {
				t.Parallel()
				f(t, r, fixtures.Place{Family: family})
			})
			if family == "unix" {
				continue // in memory there are none
			}
			t.Run(r.String()+"/simnet "+family, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { f(t, r, fixtures.Place{Stack: simnet.New(t), Family: family}) })
			})
		}
	}
}

// inMemoryIfShort skips, with -short, what takes long on the kernel.
func inMemoryIfShort(t *testing.T, w fixtures.Place) {
	t.Helper()
	if testing.Short() && w.Stack == nil {
		t.Skip("not with -short: it takes long on the kernel, and runs in memory")
	}
}

// start runs a row's fixture until the test ends, and skips the test where it is not available.
func start(t *testing.T, r probe.Row, w fixtures.Place) probe.Running {
	t.Helper()
	e, err := r.Start(t.Context(), w)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// holds judges a running fixture.
func holds(t *testing.T, r probe.Row, e probe.Running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience(e))
	defer cancel()
	_, err := r.Judge(ctx, e)
	require.NoError(t, err, "%v", e.Events())
}

// patience is the limit, where time is real.
func patience(e probe.Running) time.Duration {
	if on, ok := e.(interface{ Stack() network.Stack }); ok && simulated(on.Stack()) {
		return 1000 * time.Hour
	}
	return limit
}

func simulated(s network.Stack) bool { _, ok := s.(*simnet.Network); return ok }

func behaves(t *testing.T, r probe.Row, w fixtures.Place) { holds(t, r, start(t, r, w)) }

// An endpoint is what has an address, and can become another fixture.
type endpoint interface {
	probe.Running
	Addr() string
}

func staysOnLoopback(t *testing.T, r probe.Row, w fixtures.Place) {
	e := start(t, r, w)
	var addrs []string
	switch e := e.(type) {
	case *dnsfault.Endpoint:
		assert.Equal(t, []string{e.Addr(), e.Addr()}, []string{e.TCP.Addr(), e.UDP.Addr()})
		addrs = append(addrs, e.Addr())
	case endpoint:
		addrs = append(addrs, e.Addr())
		if a, ok := e.(interface{ NetAddr() net.Addr }); ok {
			assert.Equal(t, e.Addr(), a.NetAddr().String())
		}
	case *fixtures.DualEndpoint:
		addrs = append(addrs, e.IPv4.Addr(), e.IPv6.Addr())
	case *probe.Siege:
		for i, c := range e.Conns() {
			assert.Equal(t, i+1, c.ID())
			assert.GreaterOrEqual(t, c.Opened(), time.Duration(0))
			addrs = append(addrs, c.RemoteAddr().String(), c.LocalAddr().String())
		}
		require.NoError(t, e.Await(t.Context(), fixtures.Connected, len(e.Conns())))
	}
	require.NotEmpty(t, addrs)
	for _, a := range addrs {
		if w.Family == "unix" {
			assert.True(t, strings.HasPrefix(a, os.TempDir()))
			continue
		}
		ap, err := netip.ParseAddrPort(a)
		require.NoError(t, err)
		assert.True(t, ap.Addr().IsLoopback())
		if w.Family != "tcp" {
			assert.Equal(t, strings.HasSuffix(w.Family, "4"), ap.Addr().Is4())
		}
	}
}

func tellsWhatItIs(t *testing.T, r probe.Row, w fixtures.Place) {
	e := start(t, r, w)
	assert.NotEmpty(t, e.Rule())
	assert.Contains(t, e.String(), r.Type())
	if ep, ok := e.(endpoint); ok {
		assert.Contains(t, e.String(), " on "+ep.Addr())
	}
}

// tellsEventsInOrder: times do not go back, and the list ends with the fixture.
func tellsEventsInOrder(t *testing.T, r probe.Row, w fixtures.Place) {
	e := start(t, r, w)
	holds(t, r, e)
	require.NoError(t, e.Close())
	events := e.Events()
	require.NotEmpty(t, events)
	last := time.Duration(0)
	for _, event := range events {
		assert.GreaterOrEqual(t, event.At, last, "%v", events)
		last = event.At
	}
	if _, ok := e.(endpoint); ok {
		assert.Equal(t, fixtures.Bound, events[0].Kind)
	}
	assert.Equal(t, fixtures.Stopped, events[len(events)-1].Kind, "%v", events)
	assert.Equal(t, events, e.Events(), "nothing more comes")
}

func closesTwice(t *testing.T, r probe.Row, w fixtures.Place) {
	e := start(t, r, w)
	holds(t, r, e)
	begin := time.Now()
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	if simulated(w.Stack) {
		assert.Zero(t, time.Since(begin), "in virtual time nothing is late")
	}
	if s, ok := e.(*probe.Siege); ok {
		require.ErrorIs(t, s.Await(t.Context(), fixtures.Connected, 1025), net.ErrClosed)
	}
	if _, ok := e.(endpoint); !ok {
		return
	}
	err := r.Become(e)
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorContains(t, err, r.Type())
	require.ErrorContains(t, err, ": the endpoint is closed")
	noContact(t, e, w)
}

// noContact: who comes now is not met. On the kernel the port is free, and somebody else may have
// it already.
func noContact(t *testing.T, e probe.Running, w fixtures.Place) {
	t.Helper()
	switch e := e.(type) {
	case *dnsfault.Endpoint:
		_, err := e.DialContext(t.Context(), "udp", "")
		assert.ErrorIs(t, err, net.ErrClosed)
	case *fixtures.Endpoint:
		seen := len(e.Conns())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := e.DialContext(ctx, "", "")
		if err == nil {
			_ = c.Close()
		}
		if simulated(w.Stack) {
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
		assert.Len(t, e.Conns(), seen)
	}
}

// letsGo closes the fixture in the middle of what it does with its first connection: whoever waits
// is let go.
func letsGo(t *testing.T, r probe.Row, w fixtures.Place) {
	f, ok := r.Fixture.(fixtures.Fixture)
	if !ok {
		return
	}
	p, err := f.Plan()
	require.NoError(t, err)
	if p.Serve == nil {
		return
	}
	e := start(t, r, w).(*fixtures.Endpoint)
	ctx, cancel := context.WithTimeout(t.Context(), patience(e))
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = r.Judge(ctx, e)
	}()
	require.NoError(t, e.Await(ctx, fixtures.ConnAccepted, 1))
	require.NoError(t, e.Close())
	<-over
	assert.NoError(t, ctx.Err(), "it was the context that ended the client")
}

func holdsPort(t *testing.T, r probe.Row, w fixtures.Place) {
	e, ok := start(t, r, w).(endpoint)
	if !ok || r.Type() == "NoSocket" {
		return // there is nothing that could be held
	}
	w.Address = e.Addr()
	_, err := r.Start(t.Context(), w)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	if w.Family == "unix" {
		require.ErrorContains(t, err, w.Address+" is there already; remove it, choose another path")
	} else {
		require.ErrorContains(t, err, w.Address+" is in use; choose another port")
	}
	listen, listenPacket := (&net.ListenConfig{}).Listen, (&net.ListenConfig{}).ListenPacket
	if w.Stack != nil {
		listen, listenPacket = w.Stack.Listen, w.Stack.ListenPacket
	}
	family := w.Family[len(w.Family)-1:]
	if _, is := e.(*udp.Endpoint); !is {
		_, err = listen(t.Context(), map[bool]string{true: "unix", false: "tcp" + family}[w.Family == "unix"], w.Address)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
	if _, is := e.(*fixtures.Endpoint); !is {
		_, err = listenPacket(t.Context(), "udp"+family, w.Address)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
}

// countsAttempts: whatever becomes of a connect, it is an attempt, or an error says that it is not
// seen and what counts it.
func countsAttempts(t *testing.T, r probe.Row, w fixtures.Place) {
	e, ok := start(t, r, w).(interface {
		probe.Running
		Attempts() ([]fixtures.Attempt, error)
	})
	if !ok {
		return
	}
	before, first := e.Attempts()
	assert.Empty(t, before)
	holds(t, r, e)
	all, err := e.Attempts()
	if err != nil {
		assert.False(t, simulated(w.Stack))
		assert.ErrorIs(t, err, errors.ErrUnsupported)
		assert.ErrorContains(t, err, "want ")
		assert.Equal(t, first, err, "it is said at once")
		return
	}
	assert.Eventually(t, func() bool { // it may be accepted after the client has given up
		all, err = e.Attempts()
		return err == nil && len(all) > 0
	}, time.Minute, time.Millisecond)
	last := time.Duration(0)
	for _, a := range all {
		assert.GreaterOrEqual(t, a.At, last, "%v", all)
		last = a.At
	}
}

// most is how many others a fixture that runs becomes, one after the other: each start costs, and
// so does each wait.
const most = 8

// becomesAnyOther: every fixture becomes every other on the same port, and is then as if it had
// been started so. Above sockets that is the same for all, and each becomes its neighbour. What has
// no address of its own becomes nothing else.
func becomesAnyOther(t *testing.T, rows []probe.Row) {
	manytests.NeedsQueue(t)
	rows = slices.DeleteFunc(slices.Clone(rows), func(r probe.Row) bool { return r.Client != nil || r.Type() == "Dual" })
	for i, from := range rows {
		others := rows
		switch from.Package() {
		case "tlsfault", "httpfault", "proxyfault":
			others = []probe.Row{rows[(i+1)%len(rows)]}
		}
		chunks := (len(others) + most - 1) / most
		for some := range slices.Chunk(others, (len(others)+chunks-1)/chunks) { // all as long
			t.Run(from.String()+" becomes "+some[0].String()+" and so on", func(t *testing.T) {
				t.Parallel()
				each(t, []probe.Row{from}, func(t *testing.T, from probe.Row, w fixtures.Place) { becomes(t, from, some, w) })
			})
		}
	}
}

func becomes(t *testing.T, from probe.Row, others []probe.Row, w fixtures.Place) {
	inMemoryIfShort(t, w)
	e := start(t, from, w).(endpoint)
	addr := e.Addr()
	for _, to := range others {
		if !slices.Contains(to.Networks(), w.Family) {
			continue
		}
		err := to.Become(e)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Log(from, " does not become ", to, ": ", err)
			continue
		}
		require.NoError(t, err, "%v becomes %v", from, to)
		holds(t, to, e)
		require.NoError(t, from.Become(e), "%v becomes %v", to, from)
		holds(t, from, e)
		assert.Equal(t, addr, e.Addr())
	}
}

// refusesBadFields: the error says what is wrong and what is wanted, and what runs goes on as
// before.
func refusesBadFields(t *testing.T, rows []probe.Row) {
	for _, r := range rows {
		for want, f := range r.Bad {
			t.Run(r.String()+"/"+want, func(t *testing.T) {
				t.Parallel()
				e, err := probe.Start(t.Context(), f, fixtures.Place{})
				require.ErrorContains(t, err, want)
				assert.Nil(t, e)
				w := fixtures.Place{Family: r.Networks()[0]}
				e = start(t, r, w)
				if _, ok := e.(endpoint); ok {
					require.ErrorContains(t, probe.Become(e, f), want)
				}
				holds(t, r, e)
			})
		}
		if r.Client != nil {
			refusesBadTargets(t, r)
		}
	}
}

func refusesBadTargets(t *testing.T, r probe.Row) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	bad := map[string]hostile.Fixture{}
	for want, target := range map[string]string{
		".Target is empty; want the address of the server under test":      "",
		`.Target is "nowhere"; want host:port, such as 127.0.0.1:1717`:     "nowhere",
		`.Target is "127.0.0.1:0"; want a port from 1 to 65535`:            "127.0.0.1:0",
		`.Target is "127.0.0.1:http"; want a port from 1 to 65535`:         "127.0.0.1:http",
		`.Target is "8.8.8.8:53"; want an IP literal on loopback`:          "8.8.8.8:53",
		`.Target is "example.com:80"; want an IP literal on loopback`:      "example.com:80",
		`.Target is "[2001:db8::1]:80"; want an IP literal on loopback`:    "[2001:db8::1]:80",
		`.Target is "10.0.0.1:80"; want an IP literal on loopback (127.0.`: "10.0.0.1:80",
	} {
		bad[want] = r.Client(target)
	}
	for want, f := range r.BadClient {
		bad[want] = f(ln.Addr().String())
	}
	for want, f := range bad {
		t.Run(r.String()+"/"+want, func(t *testing.T) {
			t.Parallel()
			a, err := hostile.Start(t.Context(), f, fixtures.Place{})
			require.ErrorContains(t, err, want)
			assert.Nil(t, a)
		})
	}
}

// zeroValue: a fixture without fields runs, or says which field it needs.
func zeroValue(t *testing.T, rows []probe.Row) {
	for _, r := range rows {
		if r.Special != "" {
			continue // its type has a row of its own
		}
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			e, err := probe.Start(t.Context(), reflect.Zero(reflect.TypeOf(r.Any())).Interface(), fixtures.Place{Family: r.Networks()[0]})
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				t.Skip(err)
			case err != nil:
				assert.Regexp(t, `\b`+r.Type()+`(\.\w+)?:?( fixture)? is (empty|nil); want `, err.Error())
			default:
				assert.NoError(t, e.Close())
			}
		})
	}
}

// LeavesNothing counts what the process has open, in a process of its own.
func LeavesNothing(t *testing.T, rows []probe.Row) {
	if !manytests.Alone(t) {
		return
	}
	warm := start(t, probe.Of("fixtures")[2], fixtures.Place{}) // a BlackHole: the probe, the poller
	require.NoError(t, warm.Close())
	for _, r := range rows {
		t.Run(r.String(), func(t *testing.T) {
			t.Cleanup(costs.NothingLeft(t))
			for _, family := range slices.Repeat(r.Networks(), 3) {
				t.Run(family, func(t *testing.T) {
					t.Parallel()
					leavesNothing(t, r, family)
				})
			}
		})
	}
}

func leavesNothing(t *testing.T, r probe.Row, family string) {
	e, err := r.Start(t.Context(), fixtures.Place{Family: family})
	if errors.Is(err, errors.ErrUnsupported) {
		return // and has left nothing
	}
	require.NoError(t, err)
	holds(t, r, e)
	require.NoError(t, e.Close())
	if ep, ok := e.(endpoint); ok && family == "unix" {
		require.NoDirExists(t, filepath.Dir(ep.Addr()))
	}
}
