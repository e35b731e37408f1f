package rawsock

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

func TestPortableOnAnUnknownSystem(t *testing.T) {
	t.Parallel()
	sys := platform{goos: "plan9", whyNot: "nobody has tried"}
	_, err := bindPortable(t.Context(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sys)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	for _, a := range []network.Answer{network.Own, network.Refuse, network.Drop} {
		for _, v6 := range []bool{false, true} {
			_, err := sys.way(network.State{Answer: a}, v6)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			assert.EqualError(t, err, "plan9: cannot answer \""+a.String()+"\" over "+ipName(v6)+
				": nobody has tried: unsupported operation")
		}
	}
	w, err := sys.way(network.State{Answer: network.Listen}, false)
	require.NoError(t, err)
	assert.Equal(t, listening, w)
}

func TestPortableSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	p := bindFake(t, platform{bind: fakeBind, whyNot: "made up"})
	err := p.Become(network.State{Answer: network.Listen, Handshake: time.Second})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "fakeos: cannot delay a handshake by 1s")
	err = p.Become(network.State{Answer: network.Drop})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "made up")
	_, _, err = p.Dropped()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "fakeos")
	err = p.Become(network.State{Answer: 9})
	require.EqualError(t, err, "State.Answer is 9; want Own, Refuse, Listen or Drop")
	assert.Equal(t, network.State{}, p.state, "the state is as it was")
}

func TestPortableBindEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1717}
	_, err := bindPortable(ctx, addr, platform{bind: fakeBind})
	require.ErrorIs(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	p, err := bindPortable(ctx, addr, platform{bind: fakeBind, refuse: bound})
	require.NoError(t, err)
	cancel() // is for binding only
	require.NoError(t, p.Become(network.State{Answer: network.Refuse}))
	require.NoError(t, p.Close())
}

func TestPortableIsClosedForGood(t *testing.T) {
	t.Parallel()
	p := bindFake(t, platform{bind: fakeBind})
	for range 2 {
		require.NoError(t, p.Close())
		require.ErrorIs(t, p.Become(network.State{Answer: network.Refuse}), net.ErrClosed)
		_, err := p.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	}
}
