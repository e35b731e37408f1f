package simnet_test

import (
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// What is too large by a byte vanishes, again and again, and arrives with the next retransmission
// once the limit is undone; what is sent behind it waits. What is small passes.
func TestMTUOfAConnection(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, way} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				nw.Latency(delay)
				undo := nw.MTU(1400)
				c, s := pair(t, nw)
				write(t, c, string(make([]byte, 1348)))
				_, err := io.ReadFull(s, make([]byte, 1348))
				require.NoError(t, err)
				begin := time.Now()
				write(t, c, string(make([]byte, 1349)))
				write(t, c, "small")
				write(t, s, "the other direction")
				read(t, c, "the other direction")
				require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Minute)))
				_, err = s.Read(make([]byte, 1))
				require.ErrorContains(t, err, "i/o timeout")
				undo()
				require.NoError(t, s.SetReadDeadline(time.Time{}))
				_, err = io.ReadFull(s, make([]byte, 1349))
				require.NoError(t, err)
				read(t, s, "small")
				rto, took := 200*time.Millisecond+2*delay, time.Since(begin)
				for next := rto; ; next = next*2 + rto { // at 1, 3, 7, 15 ... times the first
					if next >= time.Minute {
						assert.Equal(t, next+delay, took)
						break
					}
				}
			})
		})
	}
}

// A connection whose data never arrives fails after the kernel's fifteen retransmissions. However
// much it is, the gap does not show: nothing of it arrives.
func TestMTUEndsInATimeout(t *testing.T) {
	t.Parallel()
	for _, size := range []int{17, 100 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				nw.Latency(way)
				defer nw.MTU(68)()
				c, s := pair(t, nw)
				write(t, c, "sixteen bytes...")
				read(t, s, "sixteen bytes...")
				begin := time.Now()
				write(t, c, strings.Repeat("x", size))
				_, err := c.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				took := (16 - 9) * 120 * time.Second // the longest pause, behind nine that double
				for rto := 200*time.Millisecond + 2*way; rto < 2*time.Minute; rto *= 2 {
					took += rto
				}
				assert.Equal(t, took, time.Since(begin))
				require.NoError(t, s.Close())
			})
		})
	}
}

// A link in one direction limits that one, and the smaller of two limits is in force.
func TestMTUOfDatagrams(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		defer nw.MTU(1300)()
		defer a.To(b).MTU(600)()
		from, err := a.ListenPacket(t.Context(), "udp4", a.Addr().String()+":0")
		require.NoError(t, err)
		to, err := b.ListenPacket(t.Context(), "udp4", b.Addr().String()+":0")
		require.NoError(t, err)
		arrives := func(from, to net.PacketConn, size int) bool {
			_, err := from.WriteTo(make([]byte, size), to.LocalAddr())
			require.NoError(t, err)
			require.NoError(t, to.SetReadDeadline(time.Now().Add(time.Second)))
			n, _, err := to.ReadFrom(make([]byte, 2000))
			return err == nil && n == size
		}
		for size, want := range map[int][2]bool{572: {true, true}, 573: {false, true}, 1272: {false, true}, 1273: {false, false}} {
			assert.Equal(t, want, [2]bool{arrives(from, to, size), arrives(to, from, size)}, size)
		}
	})
}

// Go's ClientHello is larger than 1400 bytes: behind a firewall that swallows what is large, a
// connect succeeds, and the handshake never ends.
func TestMTUStopsATLSHandshake(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		defer nw.MTU(1400)()
		c, s := pair(t, nw)
		require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		begin := time.Now()
		err := tls.Client(c, &tls.Config{ServerName: "x.test"}).HandshakeContext(t.Context())
		require.ErrorContains(t, err, "i/o timeout")
		assert.Equal(t, 10*time.Second, time.Since(begin))
		require.NoError(t, s.Close())
	})
}
