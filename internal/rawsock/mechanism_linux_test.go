package rawsock

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// mechanisms are what each state is made by, on a port that answers as it was told.
func mechanisms(t *testing.T, p network.Port, want map[network.State]string) {
	t.Helper()
	for s, mechanism := range want {
		require.NoError(t, p.Become(s))
		assert.Equal(t, mechanism, p.Mechanism(), "%+v", s)
	}
}

func TestMechanismOfEachState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		ip     net.IP
		minTTL bool
		drop   string
	}{
		{"IPv4", net.IPv4(127, 0, 0, 1), true, "IP_MINTTL"},
		{"IPv6", net.IPv6loopback, true, "IPV6_MINHOPCOUNT"},
		{"without the option", net.IPv4(127, 0, 0, 1), false, "full accept queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := bindPort(&net.TCPAddr{IP: tt.ip}, tt.minTTL)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, p.Close()) })
			slow := tt.drop + ", until a SYN is sent again"
			if tt.minTTL && canOpen(p.v6) {
				slow = tt.drop + ", then simultaneous open"
			}
			mechanisms(t, p, map[network.State]string{
				{}:                       "bound, not listening",
				{Answer: network.Refuse}: "bound, not listening",
				{Answer: network.Drop}:   tt.drop,
				{Answer: network.Listen}: "listening",
				{Answer: network.Listen, Hold: time.Hour}:                       "listening, accepting late",
				{Answer: network.Listen, Backlog: 2, Hold: network.Forever}:     "listen(fd, 1), accepting nothing",
				{Answer: network.Listen, SmallWindow: true}:                     "listening, TCP_MAXSEG 1448, SO_RCVBUF 1",
				{Answer: network.Listen, Handshake: time.Hour}:                  slow,
				{Answer: network.Listen, Handshake: time.Hour, Hold: time.Hour}: tt.drop + ", until a SYN is sent again",
			})
		})
	}
}

func TestMechanismOfAUnixSocket(t *testing.T) {
	t.Parallel()
	p, err := bindUnix("")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	mechanisms(t, p, map[network.State]string{
		{Answer: network.Refuse}:                                    "a file that no socket listens at",
		{Answer: network.Absent}:                                    "no file",
		{Answer: network.Listen}:                                    "listening",
		{Answer: network.Listen, Backlog: 1, Hold: network.Forever}: "listen(fd, 0), accepting nothing",
	})
	if p.(*unixPort).canHold(time.Hour) == nil {
		mechanisms(t, p, map[network.State]string{{Answer: network.Listen, Hold: time.Hour}: "listening, accepting late"})
	}
}

func TestMechanismOfOtherSystems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sys    func(v6 bool) platform
		refuse string
		drop   string
	}{
		{asFreeBSD, "bound, not listening", "IP_MINTTL"},
		{func(bool) platform { return bsd("darwin") }, "held by an end of a connection", "bound, not listening"},
		{asWindows, "held by an end of a connection", ""}, // the option's name is in a table that is not compiled here
	} {
		t.Run(tt.sys(false).goos, func(t *testing.T) {
			t.Parallel()
			mechanisms(t, bindTable(t, tt.sys(false), net.IPv4(127, 0, 0, 1)), map[network.State]string{
				{Answer: network.Refuse}:                  tt.refuse,
				{Answer: network.Drop}:                    tt.drop,
				{Answer: network.Listen}:                  "listening",
				{Answer: network.Listen, Hold: time.Hour}: "listening, accepting late",
			})
		})
	}
}
