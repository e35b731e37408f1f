//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package rawsock

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

func TestBSDWays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		goos         string
		refuse       way
		drop4, drop6 way
	}{
		{"darwin", connected, bound, bound},
		{"dragonfly", bound, silent, impossible},
		{"freebsd", bound, silent, impossible},
		{"linux", bound, silent, impossible},
		{"netbsd", connected, bound, bound},
		{"openbsd", connected, bound, bound},
	} {
		t.Run(tt.goos, func(t *testing.T) {
			t.Parallel()
			sys := bsd(tt.goos)
			for _, v6 := range []bool{false, true} {
				drop := tt.drop4
				if v6 {
					drop = tt.drop6
				}
				for a, want := range map[network.Answer]way{
					network.Own: bound, network.Refuse: tt.refuse, network.Listen: listening, network.Drop: drop,
				} {
					requireWay(t, sys, network.State{Answer: a}, v6, want)
				}
				requireWay(t, sys, network.State{Answer: network.Listen, Hold: time.Second}, v6, listening)
				requireWay(t, sys, network.State{Answer: network.Listen, Handshake: time.Second}, v6, impossible)
			}
			assert.Equal(t, tt.drop4 == silent, sys.silence != nil)
			assert.NotNil(t, sys.reuse, "its net.Listen sets SO_REUSEADDR, so we must")
		})
	}
}

// requireWay asks for a state; what is impossible says on which system, over which family and why.
func requireWay(t *testing.T, sys platform, s network.State, v6 bool, want way) {
	t.Helper()
	got, err := sys.way(s, v6)
	require.Equal(t, want, got, "%q over %s", s.Answer, ipName(v6))
	if want != impossible {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, sys.goos+": cannot ")
	if s.Handshake == 0 {
		require.NotEmpty(t, sys.whyNot)
		require.ErrorContains(t, err, ipName(v6)+": "+sys.whyNot)
	}
}
