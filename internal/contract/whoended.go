package contract

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/probe"
)

// A stream is what *net.TCPConn, *net.UnixConn and simnet's connections have in common.
type stream interface {
	net.Conn
	CloseWrite() error
}

// A client is one whose end is known, since the test makes it.
type client struct {
	stream
	tls *tls.Conn // nil without TLS
}

// app is where the client reads and writes.
func (c client) app() net.Conn {
	if c.tls != nil {
		return c.tls
	}
	return c.stream
}

// halfCloses sends FIN, and before it what TLS has for it.
func halfCloses(c client) error {
	var err error
	if c.tls != nil {
		err = c.tls.CloseWrite()
	}
	return errors.Join(err, c.stream.CloseWrite())
}

// closes sends FIN whatever is unread, and closes.
func closes(c client) error { return errors.Join(halfCloses(c), c.stream.Close()) }

// resets sends RST.
func resets(c client) error {
	l, ok := c.stream.(interface{ SetLinger(sec int) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return errors.Join(l.SetLinger(0), c.stream.Close())
}

// leaves is what a client of TLS does: close_notify, and then it closes. Its kernel may make RST of
// that.
func leaves(c client) error {
	if c.tls == nil {
		return errors.ErrUnsupported
	}
	return c.tls.Close()
}

func stays(client) error { return nil }

// ways are how a client can end a connection, and what that is to be called.
var ways = []struct {
	name string
	end  func(client) error
	want fixtures.PeerEnd
}{
	{"half-closes", halfCloses, fixtures.FIN},
	{"closes", closes, fixtures.FIN},
	{"leaves", leaves, fixtures.FIN},
	{"resets", resets, fixtures.RST},
	{"stays", stays, fixtures.Open},
}

// tellsWhoEnded checks that a fixture tells the end of a client as that client made it. The truth
// is the client, which is the test's own: it closes, half-closes, resets or stays, and knows it. It
// says something first, plain and over TLS.
func tellsWhoEnded(t *testing.T, rows []probe.Row) {
	for _, r := range rows {
		f, ok := r.Fixture.(fixtures.Fixture)
		if !ok || r.First {
			continue
		}
		p, err := f.Plan()
		require.NoError(t, err)
		if p.Serve == nil {
			continue // nobody is accepted
		}
		if r.Say = cmp.Or(r.Say, "hello"); r.Package() == "tlsfault" {
			r.Say = clientHello(t)
		}
		for name, f := range map[string]fixtures.Fixture{"plain": f, "over TLS": tlsfault.OverTLS{Then: f}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				each(t, []probe.Row{r}, func(t *testing.T, r probe.Row, w fixtures.Place) { tellsEnds(t, f, r.Say, w) })
			})
		}
	}
}

// clientHello is what TLS begins with.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, tlsfault.ClientConfig()).HandshakeContext(t.Context())
	}()
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	require.NoError(t, err)
	require.NoError(t, server.Close())
	<-done
	return string(b[:n])
}

// tellsEnds starts f, takes a client through each way to end, and checks what the endpoint says of
// it.
func tellsEnds(t *testing.T, f fixtures.Fixture, say string, w fixtures.Place) {
	t.Helper()
	inMemoryIfShort(t, w)
	ep, err := fixtures.Start(t.Context(), f, w)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer ep.Close()
	var drained sync.WaitGroup
	defer drained.Wait()
	want := make([]fixtures.PeerEnd, len(ways))
	for i, way := range ways {
		c := speak(t, ep, f, say)
		defer c.Close()
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, i+1))
		drained.Go(func() { _, _ = io.Copy(io.Discard, c.app()) })
		want[i] = way.want
		if err := way.end(c); errors.Is(err, errors.ErrUnsupported) {
			want[i] = fixtures.Open // no such end here: it stays
		} else {
			require.NoError(t, err, way.name)
		}
		if want[i] != fixtures.Open {
			awaitEnd(t, ep, want[:i+1])
		}
	}
	check := func() {
		for i, way := range ways {
			got, _ := ep.Conns()[i].PeerEnd()
			assert.Equal(t, want[i], got, "%s: %v", way.name, ep.Events())
		}
	}
	check()
	require.NoError(t, ep.Close())
	check()
	for i := range ways {
		checkOneEnd(t, ep, i+1, want[i])
	}
}

// speak connects, over TLS if f does, and says something.
func speak(t *testing.T, ep *fixtures.Endpoint, f fixtures.Fixture, say string) client {
	t.Helper()
	nc, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	c := client{stream: nc.(stream)}
	if _, ok := f.(tlsfault.OverTLS); ok {
		cfg := tlsfault.ClientConfig()
		cfg.CurvePreferences = []tls.CurveID{tls.X25519} // costs least
		c.tls = tls.Client(nc, cfg)
		require.NoError(t, c.tls.HandshakeContext(t.Context()))
	}
	_, err = io.WriteString(c.app(), say)
	require.NoError(t, err)
	return c
}

// awaitEnd waits until the end of the last client of want is told. It asks again and again, since a
// fixture that does nothing tells nothing; and it hears what is told, since no tick comes in a
// bubble in which a fixture sends without end.
func awaitEnd(t *testing.T, ep *fixtures.Endpoint, want []fixtures.PeerEnd) {
	t.Helper()
	last, ends := len(want)-1, 0
	for _, w := range want {
		if w == want[last] {
			ends++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	told := make(chan struct{})
	go func() {
		defer close(told)
		_ = ep.Await(ctx, fixtures.EventKind(want[last]), ends)
	}()
	defer func() { cancel(); <-told }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if end, _ := ep.Conns()[last].PeerEnd(); end != fixtures.Open {
			return
		}
		if ctx.Err() != nil {
			assert.Fail(t, "no end was told", "%v", ep.Events())
			return
		}
		select {
		case <-tick.C:
		case <-told:
		}
	}
}

// checkOneEnd finds the one event of the client's end, before the fixture's own. id is the number
// of the connection.
func checkOneEnd(t *testing.T, ep *fixtures.Endpoint, id int, want fixtures.PeerEnd) {
	t.Helper()
	var told []fixtures.EventKind
	closed := false
	for _, e := range ep.Events() {
		assert.NotEqual(t, fixtures.Failed, e.Kind, "%v", ep.Events())
		if e.Conn != id {
			continue
		}
		switch e.Kind {
		case fixtures.PeerFIN, fixtures.PeerRST:
			told = append(told, e.Kind)
			assert.False(t, closed, "%v", ep.Events())
		case fixtures.Ended:
			closed = true
		}
	}
	if want == fixtures.Open {
		assert.Empty(t, told)
	} else {
		assert.Equal(t, []fixtures.EventKind{fixtures.EventKind(want)}, told, "%v", ep.Events())
	}
}
