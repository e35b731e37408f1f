package sockettest_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// Code that takes no resolver looks names up at the fixture: by net.LookupHost and by a dial, in
// real time and in a bubble. No t.Parallel: the resolver is the whole process's.
func TestDefaultResolver(t *testing.T) {
	before := net.DefaultResolver
	t.Run("kernel", func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Echo{})
		names := sockettest.Start(t, dnsfault.Zone{"db.example": {"127.0.0.1"}})
		sockettest.DefaultResolver(t, names.Resolver())
		addrs, err := net.LookupHost("db.example.")
		require.NoError(t, err)
		assert.Equal(t, []string{"127.0.0.1"}, addrs)
		sockettest.Expect(t, ep, sockettest.Accepted, func(ctx context.Context) error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", "db.example.:"+strconv.Itoa(ep.NetAddr().(*net.TCPAddr).Port))
			if err == nil {
				err = c.Close()
			}
			return err
		})
	})
	t.Run("bubble", func(t *testing.T) {
		sockettest.Bubble(t, func(t *testing.T) {
			names := sockettest.Start(t, dnsfault.Silent{}, sockettest.On(simnet.New(t)))
			sockettest.DefaultResolver(t, names.Resolver())
			sockettest.Expect(t, names, sockettest.TimedOut.At(time.Second).In("resolve"), func(ctx context.Context) error {
				_, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", "db.example.:1")
				return err
			})
		})
	})
	assert.Same(t, before, net.DefaultResolver)
	tb := faketb.Run(t, func(tb *faketb.TB) { sockettest.DefaultResolver(tb, nil) })
	assert.Contains(t, tb.Text(), "sockettest.DefaultResolver: r is nil; want one such as")
	sockettest.DefaultResolver(nil, before) // writes that t is nil
	assert.Same(t, before, net.DefaultResolver)
}
