package rawsock

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

func eachPacketPort(t *testing.T, f func(t *testing.T, nw string, p network.PacketPort)) {
	t.Helper()
	for _, nw := range []string{"udp4", "udp6"} {
		t.Run(nw, func(t *testing.T) {
			t.Parallel()
			needs(t, nw == "udp6")
			p, err := Loopback{}.BindPacket(t.Context(), nw, "")
			require.NoError(t, err)
			t.Cleanup(func() { _ = p.Close() })
			f(t, nw, p)
		})
	}
}

// requireEcho sends a datagram and has it come back.
func requireEcho(t *testing.T, c net.Conn, p network.PacketPort) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := c.Write([]byte("ping"))
	require.NoError(t, err)
	b := make([]byte, 16)
	n, from, err := p.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, c.LocalAddr().String(), from.String())
	_, err = p.WriteTo(b[:n], from)
	require.NoError(t, err)
	n, err = c.Read(b)
	require.NoError(t, err)
	require.Equal(t, "ping", string(b[:n]))
}

func TestPacketPortRefusesAndServes(t *testing.T) {
	t.Parallel()
	eachPacketPort(t, func(t *testing.T, nw string, p network.PacketPort) {
		at := p.LocalAddr().String()
		old, err := Loopback{}.DialContext(t.Context(), nw, at) // its datagrams come before, between and after
		require.NoError(t, err)
		defer old.Close()
		for range 20 {
			require.NoError(t, p.Serve())
			requireEcho(t, old, p)
			require.NoError(t, p.Refuse())
			require.NoError(t, p.Refuse())
			c, err := Loopback{}.DialContext(t.Context(), nw, at)
			require.NoError(t, err)
			for _, c := range []net.Conn{c, old} {
				require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
				_, err = c.Write([]byte("refused"))
				require.NoError(t, err)
				_, err = c.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
			}
			require.Equal(t, at, p.LocalAddr().String())
			thief, err := (&net.ListenConfig{}).ListenPacket(t.Context(), nw, at)
			if !assert.ErrorIs(t, err, syscall.EADDRINUSE) {
				_ = thief.Close()
			}
			require.NoError(t, p.Serve())
			requireEcho(t, c, p) // what was refused has not arrived
			require.NoError(t, c.Close())
		}
	})
}

func TestPacketPortNamesItsMechanism(t *testing.T) {
	t.Parallel()
	eachPacketPort(t, func(t *testing.T, _ string, p network.PacketPort) {
		named := p.(*packetPort)
		assert.Equal(t, "bound", named.Mechanism())
		require.NoError(t, p.Refuse())
		assert.Equal(t, "connected to itself", named.Mechanism())
		require.NoError(t, p.Serve())
		assert.Equal(t, "bound", named.Mechanism())
	})
}

func TestPacketPortReadWaitsThroughARefusal(t *testing.T) {
	t.Parallel()
	eachPacketPort(t, func(t *testing.T, nw string, p network.PacketPort) {
		got := make(chan string, 1)
		go func() {
			b := make([]byte, 16)
			n, _, err := p.ReadFrom(b)
			assert.NoError(t, err)
			got <- string(b[:n])
		}()
		require.NoError(t, p.Refuse())
		require.NoError(t, p.Serve())
		c, err := Loopback{}.DialContext(t.Context(), nw, p.LocalAddr().String())
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("at last"))
		require.NoError(t, err)
		require.Equal(t, "at last", <-got)
	})
}

func TestPacketPortSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	eachPacketPort(t, func(t *testing.T, nw string, p network.PacketPort) {
		_, err := Loopback{}.BindPacket(t.Context(), nw, p.LocalAddr().String())
		require.ErrorContains(t, err, "is in use; choose another port")
		_, err = Loopback{}.BindPacket(t.Context(), "tcp", "")
		require.ErrorContains(t, err, `network is "tcp"; want udp, udp4 or udp6`)
		_, err = Loopback{}.Connect(t.Context(), nw, p.LocalAddr().String(), network.ConnectOptions{})
		require.ErrorContains(t, err, "want tcp, tcp4, tcp6 or unix, which have connections")
		require.NoError(t, p.Close())
		for _, err := range []error{p.Close(), p.Refuse(), p.Serve()} {
			require.ErrorIs(t, err, net.ErrClosed)
		}
	})
}
