package simnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A FIN that is lost under way comes again.
func TestLossOfAFINUnderLatency(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s, _ := far(t, nw)
		undo := nw.Loss(1)
		begin := time.Now()
		require.NoError(t, c.CloseWrite())
		time.Sleep(10 * time.Second) // rules:allow in a bubble
		undo()
		require.Equal(t, io.EOF, readErr(s))
		assert.Greater(t, time.Since(begin), 10*time.Second)
	})
}

// Whether it was written at once or in parts, what is behind a lost segment brings it again without
// a timeout.
func TestLossThatEndsUnderWay(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 10} {
		bubble(t, func(t *testing.T, nw *simnet.Network) {
			c, s, _ := far(t, nw)
			undo := nw.Loss(1)
			begin := time.Now()
			for range parts {
				write(t, c, strings.Repeat("x", 20_000/parts))
			}
			undo()
			read(t, s, strings.Repeat("x", 20_000))
			assert.Equal(t, 3*way, time.Since(begin), "%d parts", parts)
		})
	}
}

// What has arrived is not acknowledged before a retransmission of it arrives.
func TestLossDelaysTheAcknowledgement(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		unacked := func() int {
			info, err := c.Info()
			require.NoError(t, err)
			return info.Own.Unacked
		}
		require.NoError(t, c.Partition())
		write(t, c, "x")
		read(t, s, "x")
		undo := nw.Loss(1)
		require.NoError(t, c.Heal())
		time.Sleep(10 * time.Second) // rules:allow in a bubble
		assert.Equal(t, 1, unacked())
		undo()
		time.Sleep(time.Minute) // rules:allow in a bubble
		assert.Zero(t, unacked())
	})
}

func TestClientsOfAPortAreInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p := bound(t, nw, network.State{Answer: network.Listen})
		for range 20 {
			c, err := nw.Dial("tcp", p.Addr().String())
			require.NoError(t, err)
			defer c.Close()
		}
		clients, err := p.Clients()
		require.NoError(t, err)
		require.Len(t, clients, 20)
		assert.True(t, slices.IsSortedFunc(clients, func(a, b network.Client) int {
			return a.Addr.(*net.TCPAddr).Port - b.Addr.(*net.TCPAddr).Port
		}))
	})
}

// A connect whose answer is still on its way is one client, and hangs.
func TestClientsListAConnectOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p := bound(t, nw, network.State{Answer: network.Listen})
		nw.Latency(time.Second)
		dialled := make(chan net.Conn)
		go func() {
			c, err := nw.Dial("tcp", p.Addr().String())
			assert.NoError(t, err)
			dialled <- c
		}()
		time.Sleep(1500 * time.Millisecond) // rules:allow in a bubble
		clients, err := p.Clients()
		require.NoError(t, err)
		require.Len(t, clients, 1)
		assert.Equal(t, "SYN-SENT", clients[0].Socket.State)
		assert.Equal(t, 1, p.Visits().Open)
		require.NoError(t, (<-dialled).Close())
	})
}

func TestSocketsNameMachinesIfThereAreSeveral(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	alone := nw.Sockets()
	require.Len(t, alone, 1)
	assert.Regexp(t, `^\S+ `, alone[0])
	assert.NotRegexp(t, `^\S+: `, alone[0])
	nw.Host("db")
	beside := nw.Sockets()
	require.Len(t, beside, 1)
	assert.Regexp(t, `^\S+: `, beside[0])
	assert.Contains(t, beside[0], alone[0])
}

func TestDatagramsWithoutARoute(t *testing.T) {
	t.Parallel()
	_, err := simnet.New(t).Dial("udp", "203.0.113.1:53")
	require.ErrorIs(t, err, syscall.ENETUNREACH)
}

// The first refusals are kept, each with its time.
func TestRefusalsAreKept(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p, err := nw.Bind(t.Context(), "tcp", "")
		require.NoError(t, err)
		defer p.Close()
		const most = 64
		var want []time.Time
		for range most + 1 {
			want = append(want, time.Now())
			_, err = nw.Dial("tcp", p.Addr().String())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			time.Sleep(time.Second) // rules:allow in a bubble
		}
		got, err := p.Refusals()
		require.NoError(t, err)
		assert.Equal(t, want[:most], got)
	})
}

// The small window that a connect asks for is the client's own.
func TestConnectWithASmallWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		room := map[bool]int{}
		for _, small := range []bool{false, true} {
			c, err := nw.Connect(t.Context(), "tcp", ln.Addr().String(), network.ConnectOptions{SmallWindow: small})
			require.NoError(t, err)
			defer c.Close()
			info, err := c.Info()
			require.NoError(t, err)
			room[small] = info.Own.ReceiveWindow
		}
		assert.Less(t, room[true], room[false]/10)
	})
}

func TestVisitsOfDatagramsAreExact(t *testing.T) {
	t.Parallel()
	nw := simnet.New(t)
	p, err := nw.BindPacket(t.Context(), "udp", "")
	require.NoError(t, err)
	defer p.Close()
	c, err := nw.Dial("udp", p.LocalAddr().String())
	require.NoError(t, err)
	defer c.Close()
	write(t, c, "x")
	require.NoError(t, p.Refuse())
	write(t, c, "y")
	assert.Equal(t, network.Visits{Count: 2, Open: 1, Complete: true, Exact: true}, p.Visits())
}

// A port that is cut loses the probes of its connections too.
func TestCutPortEndsKeepAlive(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		p := bound(t, nw, network.State{Answer: network.Listen})
		c, err := nw.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		begin := time.Now()
		require.NoError(t, p.Become(network.State{Answer: network.Listen, Cut: true}))
		require.NoError(t, c.SetReadDeadline(begin.Add(time.Hour)))
		require.ErrorIs(t, readErr(c), syscall.ETIMEDOUT)
		assert.Equal(t, 150*time.Second, time.Since(begin))
	})
}

// The end of a handshake that finds the port closed is answered with RST.
func TestHandshakeMeetsAClosedPort(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		nw.Latency(way)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c, err := nw.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, ln.Close())
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		require.ErrorIs(t, readErr(c), syscall.ECONNRESET)
	})
}

// The answer to a probe is held as everything is: it resets the connection after the release.
func TestHoldHoldsTheAnswerToAProbe(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c, s := between(t, a, b)
		require.NoError(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second}))
		heal := nw.Partition()
		require.NoError(t, s.Reset()) // its RST is lost
		release := b.To(a).Hold()
		heal()
		begin := time.Now()
		time.AfterFunc(3*time.Second+way, release)
		require.ErrorIs(t, readErr(c), syscall.ECONNRESET)
		assert.Equal(t, 4*time.Second, time.Since(begin))
	})
}

// A write that has given up is not stuck, though the other end takes no more.
func TestAwaitStuckAfterAWriteGaveUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, _ := pair(t, nw)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		_, err := c.Write(make([]byte, 16<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.AwaitStuck(ctx), context.DeadlineExceeded)
	})
}

// Of a larger send buffer, a write that nobody reads takes twice as much more.
func TestWriteBufferIsDoubled(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		var took []int
		for _, size := range []int{100_000, 150_000} {
			c, _ := pair(t, nw)
			require.NoError(t, c.SetWriteBuffer(size))
			require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
			n, err := c.Write(make([]byte, 16<<20))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			took = append(took, n)
		}
		assert.Equal(t, 100_000, took[1]-took[0])
	})
}

// A larger receive buffer lets a write go on that waited for room.
func TestLargerReadBufferOpensTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		time.AfterFunc(time.Second, func() { assert.NoError(t, s.SetReadBuffer(4<<20)) })
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
		assert.Equal(t, time.Second, took(func() { write(t, c, strings.Repeat("x", 5<<20)) }))
	})
}

// Both ends are closed, but an acknowledgement was lost: the connection ends when it is sent again.
func TestLostAcknowledgementOfAFIN(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		c, s := between(t, a, b)
		require.NoError(t, s.Close())
		require.Equal(t, io.EOF, readErr(c))
		heal := b.To(a).Partition()
		require.NoError(t, c.Close())
		time.Sleep(way) // rules:allow in a bubble
		heal()
		require.NotEmpty(t, nw.Sockets())
		time.Sleep(10 * time.Second) // rules:allow in a bubble
		assert.Empty(t, nw.Sockets())
	})
}

// A descriptor shows all that has arrived, in order, in whatever pieces it is taken.
func TestDescriptorShowsEveryByte(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		var want, got []byte
		for _, size := range []int{1, 300_000, 1} { // more than the descriptor takes at once
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i + i>>8 + len(want))
			}
			want = append(want, b...)
			_, err = s.Write(b)
			require.NoError(t, err)
			for len(got) < len(want) {
				err = raw.Read(func(fd uintptr) bool {
					n, err := sockpair.Read(int(fd), b[:min(len(b), 10_000)])
					if err == nil {
						got = append(got, b[:n]...)
					}
					return err == nil
				})
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				require.NoError(t, err)
			}
		}
		assert.True(t, slices.Equal(want, got))
	})
}

// A connection whose descriptor was lent leaves none behind.
func TestDescriptorsAreClosed(t *testing.T) {
	open := func() int {
		all, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(all)
	}
	const conns = 100
	before := open()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		for range conns {
			c, _ := pair(t, nw)
			raw, err := c.SyscallConn()
			require.NoError(t, err)
			if err = raw.Control(func(uintptr) {}); errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
	})
	assert.Less(t, open(), before+conns/2)
}
