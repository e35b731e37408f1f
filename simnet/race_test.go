package simnet_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

func TestIPv6IsPreferredWhereItIsGlobal(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	greeter(t, nw.Host("db", "192.0.2.7", "2001:db8::7"), "tcp", ":80", "db")
	_, c := greeting(t, nw.Host("app", "192.0.2.8", "2001:db8::8"), "db:80")
	assert.Equal(t, "2001:db8::7", c.RemoteAddr().(*net.TCPAddr).IP.String())
	_, c = greeting(t, nw.Host("old", "192.0.2.9"), "db:80")
	assert.Equal(t, "192.0.2.7", c.RemoteAddr().(*net.TCPAddr).IP.String())
}

// A host with two addresses is dialled as net.Dialer dials it: the other family has its turn after
// 300 ms, or a failure.
func TestHappyEyeballs(t *testing.T) {
	t.Parallel()
	refuse, drop, listen := network.State{Answer: network.Refuse}, network.State{Answer: network.Drop}, network.State{Answer: network.Listen}
	for name, tt := range map[string]struct {
		four, six network.State
		wins      string // the family; empty is none
		after     time.Duration
	}{
		"both":                 {listen, listen, "192.0.2.7", 0},
		"refused":              {refuse, listen, "fd00::7", 0},
		"no answer":            {drop, listen, "fd00::7", 300 * time.Millisecond},
		"late, but first":      {network.State{Answer: network.Listen, Handshake: time.Second}, drop, "192.0.2.7", time.Second},
		"the fallback first":   {network.State{Answer: network.Listen, Handshake: time.Second}, listen, "fd00::7", 300 * time.Millisecond},
		"both refused":         {refuse, refuse, "", 0},
		"refused, and nothing": {refuse, drop, "", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				db := nw.Host("db", "192.0.2.7", "fd00::7")
				for network, state := range map[string]network.State{"tcp4": tt.four, "tcp6": tt.six} {
					address := map[string]string{"tcp4": "192.0.2.7:80", "tcp6": "[fd00::7]:80"}[network]
					p, err := db.Bind(t.Context(), network, address)
					require.NoError(t, err)
					defer p.Close()
					require.NoError(t, p.Become(state))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begin := time.Now()
				c, err := nw.DialContext(ctx, "tcp", "db:80")
				assert.Equal(t, tt.after, time.Since(begin))
				if tt.wins == "" {
					require.ErrorIs(t, err, syscall.ECONNREFUSED)
					require.ErrorContains(t, err, "192.0.2.7", "the first family's error")
					return
				}
				require.NoError(t, err)
				assert.Equal(t, tt.wins, c.RemoteAddr().(*net.TCPAddr).IP.String())
				require.NoError(t, c.Close())
			})
		})
	}
}
