package conformance

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
)

// lossLines: nothing comes back any more.
var lossLines = []line{
	{"a partition that heals loses nothing", func(t *testing.T, l lab) {
		c, s := l.pair(t)
		supported(t, s.Partition())
		writes(t, c, nil)
		require.NoError(t, c.CloseWrite())
		l.rest()
		info, err := s.Info()
		supported(t, err)
		require.Zero(t, info.Own.Unread)
		require.NoError(t, s.Heal())
		reads(t, s, "hello", nil)
	}},
	{"a keep-alive that nobody answers is ETIMEDOUT once, then EOF", func(t *testing.T, l lab) {
		l.seconds(t)
		manytests.NeedsPlainTCP(t)
		p := l.listen(t)
		c, err := l.dial(t.Context(), p)
		require.NoError(t, err)
		defer c.Close()
		s := accept(t, p)
		tcp, ok := c.(tcpConn)
		require.True(t, ok, "%T", c)
		k := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1}
		if l.Virtual {
			k = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Hour, Interval: 75 * time.Second, Count: 9}
		}
		supported(t, s.Partition())
		zero := time.Now()
		require.NoError(t, tcp.SetKeepAliveConfig(k))

		reads(t, c, "", failed(c, "read", "read", syscall.ETIMEDOUT))
		if l.Virtual {
			require.Equal(t, k.Idle+time.Duration(k.Count)*k.Interval, time.Since(zero))
		}
		n, err := c.Read(make([]byte, 1))
		require.Equal(t, 0, n)
		require.EqualError(t, err, "EOF")
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
	}},
	{"a dialled connection's keep-alive is package net's: ETIMEDOUT after 15 s and nine times 15 s", func(t *testing.T, l lab) {
		l.onlyVirtual(t, "would take 150 s")
		p := l.listen(t)
		zero := time.Now()
		c, err := l.dial(t.Context(), p)
		require.NoError(t, err)
		defer c.Close()
		supported(t, accept(t, p).Partition())

		reads(t, c, "", failed(c, "read", "read", syscall.ETIMEDOUT))
		require.Equal(t, 150*time.Second, time.Since(zero))
	}},
	{"bytes that nobody acknowledges are ETIMEDOUT in the end", func(t *testing.T, l lab) {
		l.onlyVirtual(t, "would take 15 minutes (tcp_retries2)")
		c, s := l.pair(t)
		supported(t, s.Partition())
		zero := time.Now()
		writes(t, c, nil)

		reads(t, c, "", failed(c, "read", "read", syscall.ETIMEDOUT))
		require.GreaterOrEqual(t, time.Since(zero), 100*time.Second, "RFC 9293, section 3.8.3: R2 is 100 s or more")
		require.LessOrEqual(t, time.Since(zero), time.Hour)
		writes(t, c, failed(c, "write", "write", syscall.EPIPE))
	}},
}

// packetLines: UDP.
var packetLines = []line{
	{"a datagram to a port that is shut is answered at the next read, and the next write goes out again", func(t *testing.T, l lab) {
		p, err := l.stack.BindPacket(t.Context(), "udp", l.anyPort())
		supported(t, err)
		defer p.Close()
		supported(t, p.Refuse())
		c, err := l.stack.DialContext(t.Context(), "udp", p.LocalAddr().String())
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)

		_, err = c.Read(make([]byte, 1))
		require.Equal(t, &net.OpError{
			Op: "read", Net: "udp", Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: failed(c, "read", "read", syscall.ECONNREFUSED).(*net.OpError).Err,
		}, err)
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)
	}},
}
