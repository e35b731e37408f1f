package simnet_test

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// eachPacketStack runs f on both networks: what holds on the kernel's holds in memory.
func eachPacketStack(t *testing.T, f func(t *testing.T, s network.Stack, nw string)) {
	t.Helper()
	for name, s := range map[string]network.Stack{"kernel": rawsock.Loopback{}, "simnet": simnet.New(t)} {
		for _, nw := range []string{"udp4", "udp6"} {
			t.Run(name+"/"+nw, func(t *testing.T) {
				t.Parallel()
				if name == "kernel" && nw == "udp6" {
					manytests.NeedsIPv6(t)
				}
				f(t, s, nw)
			})
		}
	}
}

func TestPacketsGoBothWaysOnBothNetworks(t *testing.T) {
	t.Parallel()
	eachPacketStack(t, func(t *testing.T, s network.Stack, nw string) {
		p, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		defer p.Close()
		c, err := s.DialContext(t.Context(), nw, p.LocalAddr().String())
		require.NoError(t, err)
		defer c.Close()
		write(t, c, "ping")
		b := make([]byte, 2)
		n, from, err := p.ReadFrom(b)
		require.NoError(t, err)
		assert.Equal(t, "pi", string(b[:n]), "what does not fit is lost")
		assert.Equal(t, c.LocalAddr().String(), from.String())
		_, err = p.WriteTo([]byte("pong"), from)
		require.NoError(t, err)
		read(t, c, "pong")
	})
}

func TestPacketsAreRefusedOnBothNetworks(t *testing.T) {
	t.Parallel()
	eachPacketStack(t, func(t *testing.T, s network.Stack, nw string) {
		p, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, p.Refuse())
		c, err := s.DialContext(t.Context(), nw, p.LocalAddr().String())
		require.NoError(t, err)
		defer c.Close()
		write(t, c, "x")
		n, err := c.Read(make([]byte, 1))
		assert.Zero(t, n)
		require.Equal(t, &net.OpError{Op: "read", Net: nw, Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}, err)
		write(t, c, "x")
		_, err = c.Write([]byte("x"))
		require.Equal(t, &net.OpError{Op: "write", Net: nw, Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("write", syscall.ECONNREFUSED)}, err)
		require.NoError(t, p.Serve())
		write(t, c, "y")
		b := make([]byte, 8)
		n, _, err = p.ReadFrom(b)
		require.NoError(t, err)
		assert.Equal(t, "y", string(b[:n]))
	})
}

func TestPacketErrorsOnBothNetworks(t *testing.T) {
	t.Parallel()
	eachPacketStack(t, func(t *testing.T, s network.Stack, nw string) {
		p, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		_, err = s.BindPacket(t.Context(), nw, p.LocalAddr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.ErrorContains(t, err, "is in use; choose another port")
		require.NoError(t, p.SetReadDeadline(time.Unix(1, 0)))
		n, from, err := p.ReadFrom(make([]byte, 1))
		require.Equal(t, &net.OpError{Op: "read", Net: nw, Source: p.LocalAddr(), Err: os.ErrDeadlineExceeded}, err)
		assert.Zero(t, n)
		assert.Nil(t, from)
		_, err = p.WriteTo(make([]byte, 70000), p.LocalAddr())
		require.ErrorIs(t, err, syscall.EMSGSIZE)
		require.NoError(t, p.Close())
		require.ErrorIs(t, p.Close(), net.ErrClosed)
		_, _, err = p.ReadFrom(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, p.SetDeadline(time.Time{}), net.ErrClosed)
		require.ErrorIs(t, p.Refuse(), net.ErrClosed)
	})
}

// A call that fails has read nothing.
func TestPacketErrorsCarryNoBytes(t *testing.T) {
	t.Parallel()
	eachPacketStack(t, func(t *testing.T, s network.Stack, nw string) {
		p, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		defer p.Close()
		c, err := s.DialContext(t.Context(), nw, p.LocalAddr().String())
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Unix(1, 0)))
		for _, want := range []error{os.ErrDeadlineExceeded, net.ErrClosed} {
			for _, call := range []func([]byte) (int, error){c.Read, c.Write} {
				n, err := call([]byte("x"))
				require.ErrorIs(t, err, want)
				assert.Zero(t, n)
			}
			_ = c.Close()
		}
	})
}

// What is sent to the unspecified address stays on this host, as on Linux.
func TestPacketsToNoAddressComeHome(t *testing.T) {
	t.Parallel()
	eachPacketStack(t, func(t *testing.T, s network.Stack, nw string) {
		if _, kernel := s.(rawsock.Loopback); kernel && runtime.GOOS != "linux" {
			t.Skip(runtime.GOOS, " may refuse it")
		}
		p, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		defer p.Close()
		c, err := s.BindPacket(t.Context(), nw, "")
		require.NoError(t, err)
		defer c.Close()
		to := *p.LocalAddr().(*net.UDPAddr)
		here := to.IP
		to.IP = net.IPv4zero
		if nw == "udp6" {
			to.IP = net.IPv6unspecified
		}
		_, err = c.WriteTo([]byte("ping"), &to)
		require.NoError(t, err)
		b := make([]byte, 8)
		n, from, err := p.ReadFrom(b)
		require.NoError(t, err)
		assert.Equal(t, "ping", string(b[:n]))
		assert.Equal(t, here.String(), from.(*net.UDPAddr).IP.String())
	})
}

func TestPacketReadTimesOutExactly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, nw *simnet.Network) {
		c, err := nw.Dial("udp", "127.0.0.1:53")
		require.NoError(t, err)
		defer c.Close()
		begin := time.Now()
		require.NoError(t, c.SetReadDeadline(begin.Add(forever)))
		require.ErrorIs(t, readErr(c), os.ErrDeadlineExceeded)
		assert.Equal(t, forever, time.Since(begin))
	})
}
