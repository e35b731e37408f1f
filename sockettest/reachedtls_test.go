package sockettest_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// The close_notify that ends a connection from before is no more contact than the FIN after it.
// What else comes is, in TLS and without it.
func TestReachedByCloseNotify(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	manytests.NeedsProc(t)
	manytests.NeedsMinTTL(t)
	nothingMore := func(context.Context, *tls.Conn, *fixtures.Endpoint) {}
	writes := func(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) { _, _ = c.Write([]byte("quit")) }
	writesByte := func(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) { _, _ = c.Write([]byte("q")) }
	closes := func(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) { _ = c.Close() }
	unread := fixtures.Silent{Unread: true}
	for name, tt := range map[string]struct {
		then    fixtures.Fixture
		version uint16
		op      []tlsStep
		came    bool
		twice   bool // the operation's connection is a second one
		cut     bool // the fixture is partitioned
	}{
		"TLS 1.3":                  {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"TLS 1.2":                  {then: fixtures.Echo{}, version: tls.VersionTLS12, op: []tlsStep{closes}},
		"in a partition":           {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{closes}, cut: true},
		"a write in a partition":   {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{writes}, cut: true, came: true},
		"half-close":               {then: fixtures.HalfClose{}, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"unread":                   {then: unread, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"nothing":                  {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{nothingMore}},
		"a write":                  {then: fixtures.Discard{}, version: tls.VersionTLS13, op: []tlsStep{writes}, came: true},
		"a write, unread":          {then: unread, version: tls.VersionTLS13, op: []tlsStep{writes}, came: true},
		"a write and a close":      {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{writes, closes}, came: true},
		"the same, unread":         {then: unread, version: tls.VersionTLS13, op: []tlsStep{writes, closes}, came: true},
		"a write and FIN":          {then: fixtures.Discard{}, version: tls.VersionTLS13, op: []tlsStep{writes, closesBelow}, came: true},
		"a write and FIN, unread":  {then: unread, version: tls.VersionTLS13, op: []tlsStep{writes, halfClosesBelow}, came: true},
		"a byte and FIN, TLS 1.2":  {then: unread, version: tls.VersionTLS12, op: []tlsStep{writesByte, halfClosesBelow}, came: true},
		"a close beside a request": {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{closes}, twice: true, came: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothNetworks(t, func(t *testing.T, dial dialFunc, opts ...sockettest.Option) {
				judge := func(want sockettest.Want) (r sockettest.Result, said string) {
					ep := sockettest.Start(t, tlsfault.OverTLS{Then: tt.then}, opts...)
					config := tlsfault.ClientConfig()
					config.MaxVersion = tt.version
					connect := func() *tls.Conn {
						c, err := dial(t.Context(), "tcp", ep.Addr())
						require.NoError(t, err)
						t.Cleanup(func() { _ = c.Close() })
						over := tls.Client(c, config)
						require.NoError(t, over.Handshake())
						return over
					}
					conn, other := connect(), (*tls.Conn)(nil)
					if tt.twice {
						other = connect()
					}
					n := len(ep.Conns())
					require.NoError(t, ep.Await(t.Context(), fixtures.Secured, n))
					if _, ends := tt.then.(fixtures.HalfClose); ends { // before, not during the operation
						_, err := io.Copy(io.Discard, conn)
						require.NoError(t, err)
					}
					if tt.cut {
						defer ep.Partition()()
					}
					said = faketb.Run(t, func(tb *faketb.TB) {
						r = sockettest.Expect(tb, ep, want, func(ctx context.Context) error {
							for _, op := range tt.op {
								op(ctx, conn, ep)
							}
							if other != nil {
								writes(ctx, other, ep)
							}
							return errOwn
						})
					}).Text()
					return r, said
				}
				r, said := judge(sockettest.ErrorIs(errOwn))
				assert.Empty(t, said)
				assert.Equal(t, !tt.came, r.Note != "", r.Note)
				_, said = judge(sockettest.ErrorIs(errOwn).Unreached())
				assert.Equal(t, tt.came, said != "", said)
			})
		})
	}
}

// A tlsStep is what an operation does with a connection from before.
type tlsStep func(context.Context, *tls.Conn, *fixtures.Endpoint)

// closesBelow half-closes without close_notify, once the fixture has read.
func closesBelow(ctx context.Context, c *tls.Conn, ep *fixtures.Endpoint) {
	_ = ep.Await(ctx, fixtures.Plaintext, 1)
	halfClosesBelow(ctx, c, ep)
}

func halfClosesBelow(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) {
	_ = c.NetConn().(interface{ CloseWrite() error }).CloseWrite()
}

// Without TLS as many bytes before a close are a use.
func TestReachedByAsManyBytesAsCloseNotify(t *testing.T) {
	t.Parallel()
	row := openRow{fixture: fixtures.Silent{}, came: true, op: func(c net.Conn, ep *fixtures.Endpoint) {
		_, _ = c.Write(make([]byte, 24))
		closes(c, ep)
	}}
	onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) { row.check(t, opts...) })
}

// What the client said before the operation, and what is in the air when it begins, is no contact:
// a close_notify, a request, FIN. Nor is what the fixture answers to a client that has closed. What
// the operation itself sends beside it is, but no close_notify of its own.
func TestReachedByWhatIsInTheAir(t *testing.T) {
	t.Parallel()
	nothingMore := func(*tls.Conn) {}
	closes := func(c *tls.Conn) { _ = c.Close() }
	writes := func(c *tls.Conn) { _, _ = c.Write([]byte("quit")) }
	ends := func(c *tls.Conn) { _ = c.NetConn().Close() }
	unreached := sockettest.ErrorIs(errOwn).Unreached()
	elsewhere := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: errOwn}
	for name, before := range map[string][]func(*tls.Conn){
		"close_notify": {closes}, "request and close_notify": {writes, closes}, "FIN": {ends}, "request and FIN": {writes, ends}, "request": {writes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, takes := range []time.Duration{0, 10 * time.Second} { // by then all has landed
				assert.Empty(t, inTheAir(t, before, nothingMore, takes, unreached, errOwn))
				assert.Empty(t, inTheAir(t, before, closes, takes, unreached, errOwn))
				assert.Contains(t, inTheAir(t, before, writes, takes, unreached, errOwn), "the fixture was reached")
				said := inTheAir(t, before, nothingMore, takes, sockettest.ErrorIs(errOwn), elsewhere)
				if name != "request" || takes == 0 { // else its answer came to a client that was there
					assert.Contains(t, said, neverReached)
				}
				assert.Empty(t, inTheAir(t, before, writes, takes, sockettest.ErrorIs(errOwn), elsewhere))
			}
		})
	}
}

// inTheAir runs an operation on the second of two connections, which ends with err a time later,
// while what was done before on the first is on its way, and returns what Expect says.
func inTheAir(t *testing.T, before []func(*tls.Conn), op func(*tls.Conn), takes time.Duration, want sockettest.Want, err error) (said string) {
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		client, server := nw.Host("client"), nw.Host("server")
		ep := sockettest.Start(t, tlsfault.OverTLS{Then: fixtures.Echo{}}, sockettest.On(server))
		var conns [2]*tls.Conn
		for i := range conns {
			c, err := client.DialContext(t.Context(), "tcp", ep.Addr())
			require.NoError(t, err)
			conns[i] = tls.Client(c, tlsfault.ClientConfig())
			require.NoError(t, conns[i].Handshake())
			defer conns[i].Close()
		}
		synctest.Wait()
		defer nw.Link(client, server).Latency(time.Second)()
		for _, step := range before {
			step(conns[0])
		}
		said = faketb.Run(t, func(tb *faketb.TB) {
			sockettest.Expect(tb, ep, want, func() error {
				op(conns[1])
				time.Sleep(takes)
				return err
			})
		}).Text()
	})
	return said
}
