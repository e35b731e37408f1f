package sweep

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A finder looks up its server, and adds there.
type finder struct {
	c      *Case
	bug    string
	failed error
}

func (f *finder) add(ctx context.Context) error {
	if f.failed != nil {
		return f.failed
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	host, port, _ := net.SplitHostPort(f.c.Addr())
	look := ctx
	if f.bug == "no limit on the lookup" {
		look = context.WithoutCancel(ctx)
	}
	addrs, err := f.c.Resolver().LookupHost(look, host)
	if errors.As(err, new(*net.DNSError)) && f.bug == "keeps a failed lookup" {
		f.failed = err
	}
	if err != nil {
		return err
	}
	conn, err := f.c.DialContext(ctx, "tcp", net.JoinHostPort(addrs[0], port))
	if err != nil {
		return err
	}
	db := &client{c: f.c, conn: conn}
	return errors.Join(db.add(ctx), conn.Close())
}

// Each lookup is a point.
func TestLookups(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Host, cfg.Once, cfg.Limit = "db.example", nil, 7*time.Second
	sweeps := func(bug string) (string, bool) {
		return sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
			f := &finder{c: c, bug: bug}
			err := f.add(ctx)
			if err == nil {
				err = f.add(ctx)
			}
			c.Recovers(f.add)
			return err
		})
	}
	text, bad := sweeps("no limit on the lookup")
	assert.True(t, bad)
	assert.Regexp(t, `\n  (late|hangs)  .* lookup, silent: the operation (took|had not returned after) `, text) // each name server of resolv.conf takes 10 s
	assert.Regexp(t, `\n  (late|hangs)  .* lookup 2, silent: `, text)
	assert.Contains(t, text, "^lookup$/^silent$")
	assert.Equal(t, "lookup_2/silent", lookups(2, "a")[2].name())
	text, bad = sweeps("keeps a failed lookup")
	assert.True(t, bad)
	assert.Contains(t, text, "\n  does not recover lookup, no-such-host, servfail, silent: 7s after Recovers was called, still lookup db.example")
	assert.Contains(t, text, "\n  does not recover lookup 2, no-such-host, servfail, silent: 7s after Recovers was called")
	assert.Equal(t, 2, strings.Count(text, "\n  does not recover "), text)
	text, bad = sweeps("")
	assert.False(t, bad, text)
	assert.NotContains(t, text, "never came")
}

// A dial looks up the name, and fails as a net.Dialer's.
func TestDialLooksUp(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Host, cfg.Once = "DB.example.", nil
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: add}
	require.NoError(t, s.begin())
	assert.Equal(t, 1, s.good.Lookups)
	took := map[string]time.Duration{}
	for _, p := range lookups(1, cfg.Host) {
		r := s.one(p, false)
		assert.True(t, r.Fired)
		assert.Equal(t, p.fault.Name == "slow", r.err == nil)
		if took[p.fault.Name] = r.Took; r.err != nil {
			require.ErrorAs(t, r.err, new(*net.DNSError))
			assert.ErrorContains(t, r.err, "dial tcp: lookup DB.example.")
		}
	}
	assert.GreaterOrEqual(t, took["slow"], slow)
	s.op = func(context.Context, *Case) error { return nil }
	assert.ErrorContains(t, s.begin(), "never connected")
	s.op = func(ctx context.Context, c *Case) error {
		conn, err := c.DialContext(ctx, "tcp", strings.Replace(c.Addr(), cfg.Host, "127.0.0.1", 1))
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	assert.ErrorContains(t, s.begin(), `Config.Host is "DB.example.", which nobody looked up; want an operation that dials Case.Addr`)
}
