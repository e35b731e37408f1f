package simnet_test

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// idle is how long the middleboxes of these tests know a connection: an AWS NAT gateway's 350 s.
const idle = 350 * time.Second

// quiet sets keep-alive of both ends: every so often, or not at all.
func quiet(t *testing.T, every time.Duration, ends ...*simnet.Conn) {
	t.Helper()
	for _, c := range ends {
		require.NoError(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: every > 0, Idle: every, Interval: every, Count: 3}))
	}
}

// A word to the very moment keeps a connection, one later comes too late: it vanishes, in both
// directions, and other connections are not concerned.
func TestForgetToTheMoment(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		nw.Latency(way)
		defer nw.Forget(idle)()
		c, s := pair(t, nw)
		quiet(t, 0, c, s)
		write(t, c, "a") // its acknowledgement is the last word
		read(t, s, "a")
		<-time.After(idle - 1)
		write(t, s, "b")
		read(t, c, "b")
		<-time.After(idle)
		write(t, c, "late")
		write(t, s, "late")
		for _, end := range []*simnet.Conn{c, s} {
			require.NoError(t, end.SetReadDeadline(time.Now().Add(time.Hour)))
			require.ErrorIs(t, readErr(end), syscall.ETIMEDOUT, "its write was never acknowledged")
		}
		other, its := pair(t, nw)
		write(t, other, "x")
		read(t, its, "x")
	})
}

// A reader learns nothing, unless its keep-alive finds out.
func TestForgottenReader(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration]time.Duration{
		0:                  0,             // waits forever
		idle:               idle + 3*idle, // the first probe comes when it is forgotten, the fourth not at all
		idle - time.Second: 0,             // keeps it
		time.Hour:          time.Hour + 3*time.Hour,
	} {
		t.Run(every.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				defer nw.Forget(idle)()
				c, s := pair(t, nw)
				quiet(t, 0, s)
				quiet(t, every, c)
				begin := time.Now()
				time.AfterFunc(24*time.Hour, func() { _ = s.CloseWrite() })
				require.NoError(t, c.SetReadDeadline(begin.Add(25*time.Hour)))
				err := readErr(c)
				if want > 0 {
					require.ErrorIs(t, err, syscall.ETIMEDOUT)
					assert.Equal(t, want, time.Since(begin))
					return
				}
				if every > 0 {
					require.ErrorContains(t, err, "EOF", "the other end's FIN has come")
				} else {
					require.ErrorContains(t, err, "i/o timeout")
				}
			})
		})
	}
}

// The middlebox answers whoever speaks with RST; the other end is told when it speaks itself.
func TestForgetReset(t *testing.T) {
	t.Parallel()
	for name, speak := range map[string]func(*testing.T, *simnet.Conn){
		"write": func(t *testing.T, c *simnet.Conn) {
			write(t, c, "late")
			require.ErrorIs(t, readErr(c), syscall.ECONNRESET)
		},
		"large write": func(t *testing.T, c *simnet.Conn) {
			_, err := c.Write(make([]byte, 8<<20))
			require.Error(t, err)
		},
		"FIN": func(t *testing.T, c *simnet.Conn) {
			require.NoError(t, c.CloseWrite())
			require.ErrorIs(t, readErr(c), syscall.ECONNRESET)
		},
		"keep-alive": func(t *testing.T, c *simnet.Conn) {
			quiet(t, time.Hour, c)
			begin := time.Now()
			require.ErrorIs(t, readErr(c), syscall.ECONNRESET)
			assert.Equal(t, time.Hour, time.Since(begin))
		},
	} {
		for _, delay := range []time.Duration{0, way} {
			t.Run(name+" "+delay.String(), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, nw *simnet.Network) {
					nw.Latency(delay)
					defer nw.ForgetReset(idle)()
					c, s := pair(t, nw)
					quiet(t, 0, c, s)
					<-time.After(idle)
					speak(t, c)
					require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Hour)))
					require.ErrorContains(t, readErr(s), "i/o timeout", "it was told nothing")
					require.NoError(t, s.SetReadDeadline(time.Time{}))
					write(t, s, "late, too")
					require.ErrorIs(t, readErr(s), syscall.ECONNRESET)
				})
			})
		}
	}
}

// What is undone forgets nothing more, and remembers nothing again.
func TestForgetUndone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		a, b := nw.Host("a"), nw.Host("b")
		ln, err := b.Listen(t.Context(), "tcp", ":80")
		require.NoError(t, err)
		defer ln.Close()
		connect := func() (*simnet.Conn, *simnet.Conn) {
			c, err := a.Dial("tcp", "b:80")
			require.NoError(t, err)
			s, err := ln.Accept()
			require.NoError(t, err)
			t.Cleanup(func() { _, _ = c.Close(), s.Close() })
			quiet(t, 0, c.(*simnet.Conn), s.(*simnet.Conn))
			return c.(*simnet.Conn), s.(*simnet.Conn)
		}
		lost, peer := connect()
		undo := nw.Link(a, b).Forget(idle)
		<-time.After(idle) // counts from when the middlebox is there
		kept, its := connect()
		undo()
		<-time.After(2 * idle)
		write(t, kept, "x")
		read(t, its, "x")
		write(t, lost, "x")
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(time.Minute)))
		require.ErrorContains(t, readErr(peer), "i/o timeout")
		assert.NotEmpty(t, strings.Join(nw.Sockets(), ""))
	})
}

// A time that has passed before the middlebox was there does not count.
func TestForgetCountsFromItsBeginning(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, s := pair(t, nw)
		quiet(t, 0, c, s)
		<-time.After(idle)
		defer nw.Forget(idle)()
		<-time.After(idle - 1)
		write(t, c, "x")
		read(t, s, "x")
	})
}

// The RST of one end that is forgotten does not reach the other.
func TestForgottenReset(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		defer nw.Forget(idle)()
		c, s := pair(t, nw)
		quiet(t, 0, c, s)
		<-time.After(idle)
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Hour)))
		require.ErrorContains(t, readErr(s), "i/o timeout")
	})
}

// One end's keep-alive is enough for both; once it is off, the other's finds out.
func TestForgottenByASlowKeepAlive(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		defer nw.Forget(idle)()
		c, s := pair(t, nw)
		quiet(t, 15*time.Second, c)
		quiet(t, idle, s)
		<-time.After(10 * idle)
		quiet(t, 0, c)
		require.NoError(t, s.SetReadDeadline(time.Now().Add(24*time.Hour)))
		require.ErrorIs(t, readErr(s), syscall.ETIMEDOUT)
	})
}

// A keep-alive that is turned off, or made slower, has kept the connection until its last probe.
func TestForgetAfterKeepAliveStops(t *testing.T) {
	t.Parallel()
	for extra, arrives := range map[time.Duration]bool{-1: true, 0: false} {
		bubble(t, func(t *testing.T, nw *simnet.Network) {
			defer nw.Forget(idle)()
			c, s := pair(t, nw)
			quiet(t, 0, s)
			quiet(t, 100*time.Second, c)
			<-time.After(1050 * time.Second) // the last probe was 50 s ago
			quiet(t, 0, c)
			<-time.After(idle - 50*time.Second + extra)
			write(t, c, "x")
			require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Minute)))
			err := readErr(s)
			assert.Equal(t, arrives, err == nil, "%v", err)
		})
	}
}

// What the receiver of a flow sends vanishes once the flow is forgotten, until the side that opened
// it sends again. Who opened it is known from before.
func TestForgetOfAFlow(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*simnet.Link, time.Duration) func(){"Forget": (*simnet.Link).Forget, "ForgetReset": (*simnet.Link).ForgetReset} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, nw *simnet.Network) {
				client, server := nw.Host("client"), nw.Host("server")
				p, err := server.ListenPacket(t.Context(), "udp", ":53")
				require.NoError(t, err)
				defer p.Close()
				c, err := client.ListenPacket(t.Context(), "udp", ":0")
				require.NoError(t, err)
				defer c.Close()
				said := func(from, to net.PacketConn, addr net.Addr, word string) bool {
					_, err := from.WriteTo([]byte(word), addr)
					require.NoError(t, err)
					require.NoError(t, to.SetReadDeadline(time.Now().Add(time.Nanosecond)))
					b := make([]byte, 9)
					n, _, err := to.ReadFrom(b)
					require.True(t, err != nil || string(b[:n]) == word)
					return err == nil
				}
				up := func() bool { return said(c, p, &net.UDPAddr{IP: server.Addr().AsSlice(), Port: 53}, "up") }
				port := c.LocalAddr().(*net.UDPAddr).Port
				down := func() bool { return said(p, c, &net.UDPAddr{IP: client.Addr().AsSlice(), Port: port}, "down") }
				require.True(t, up())
				undo := forget(server.To(client), idle) // one direction will do
				<-time.After(idle - 1)
				assert.True(t, down(), "to the very moment")
				<-time.After(idle)
				assert.False(t, down())
				assert.False(t, down(), "what vanished keeps nothing alive")
				assert.True(t, up())
				assert.True(t, down(), "its opener has begun again")
				<-time.After(idle)
				assert.False(t, down())
				undo()
				assert.True(t, down(), "nothing is in between any more")
			})
		})
	}
}
