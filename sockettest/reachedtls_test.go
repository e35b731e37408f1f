package sockettest_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/sockettest"
)

// The close_notify that ends a connection from before is no more contact than the FIN after it.
// What else comes is, in TLS and without it.
func TestReachedByCloseNotify(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	manytests.NeedsProc(t)
	nothingMore := func(context.Context, *tls.Conn, *fixtures.Endpoint) {}
	writes := func(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) { _, _ = c.Write([]byte("quit")) }
	closes := func(_ context.Context, c *tls.Conn, _ *fixtures.Endpoint) { _ = c.Close() }
	unread := fixtures.Silent{Unread: true}
	for name, tt := range map[string]struct {
		then    fixtures.Fixture
		version uint16
		op      []tlsStep
		came    bool
		twice   bool // the operation's connection is a second one
	}{
		"TLS 1.3":                  {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"TLS 1.2":                  {then: fixtures.Echo{}, version: tls.VersionTLS12, op: []tlsStep{closes}},
		"half-close":               {then: fixtures.HalfClose{}, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"unread":                   {then: unread, version: tls.VersionTLS13, op: []tlsStep{closes}},
		"nothing":                  {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{nothingMore}},
		"a write":                  {then: fixtures.Discard{}, version: tls.VersionTLS13, op: []tlsStep{writes}, came: true},
		"a write, unread":          {then: unread, version: tls.VersionTLS13, op: []tlsStep{writes}, came: true},
		"a write and a close":      {then: fixtures.Echo{}, version: tls.VersionTLS13, op: []tlsStep{writes, closes}, came: true},
		"the same, unread":         {then: unread, version: tls.VersionTLS13, op: []tlsStep{writes, closes}, came: true},
		"a write and FIN":          {then: fixtures.Discard{}, version: tls.VersionTLS13, op: []tlsStep{writes, closesBelow}, came: true},
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
