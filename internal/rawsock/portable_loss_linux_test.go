package rawsock

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

var loopback4 = net.IPv4(127, 0, 0, 1)

func TestPortableExplainsAPortInUse(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		_, err := bindPortable(t.Context(), p.addr, p.sys)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		assert.ErrorContains(t, err, p.addr.String()+" is in use; choose another port, or none for any free one: ")
	})
}

// A host without IPv6 says so when it binds; later, the same errno means something else, and must
// skip no test.
func TestPortableExplainsAHostWithoutIPv6(t *testing.T) {
	t.Parallel()
	sys := asMacOS(true)
	sys.bind = func(*net.TCPAddr, bool) (io.Closer, int, error) { return nil, 0, syscall.EADDRNOTAVAIL }
	for ip, unsupported := range map[string]bool{"::1": true, "127.0.0.1": false} {
		_, err := bindPortable(t.Context(), &net.TCPAddr{IP: net.ParseIP(ip)}, sys)
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		require.Equal(t, unsupported, errors.Is(err, errors.ErrUnsupported), err)
	}

	manytests.NeedsIPv6(t)
	sys = asMacOS(true)
	sys.reuse = func(uintptr, bool) error { return syscall.EADDRNOTAVAIL }
	err := bindTable(t, sys, net.IPv6loopback).Become(refuse)
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

// A system may lack the option that its mechanism rests on, as Wine does.
func TestPortableWithoutTheOption(t *testing.T) {
	t.Parallel()
	sys := asWindows(false)
	sys.silence = func(uintptr) error { return os.NewSyscallError("setsockopt", syscall.ENOPROTOOPT) }
	p := bindTable(t, sys, loopback4)
	err := p.Become(drop)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "this system lacks a socket option that a port needs")
	require.NoError(t, p.Become(serve))
}

// stealing is a table that loses the port: a thief takes it in the instant in which it is free.
func stealing(t *testing.T, sys platform) (platform, func()) {
	var thief net.Listener
	bind := sys.bind
	sys.bind = func(a *net.TCPAddr, reuse bool) (io.Closer, int, error) {
		if reuse && thief == nil {
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", a.String())
			if assert.NoError(t, err) {
				thief = ln
			}
		}
		return bind(a, reuse)
	}
	return sys, func() { assert.NoError(t, thief.Close()) }
}

func TestPortableSaysThatThePortIsLost(t *testing.T) {
	t.Parallel()
	sys, giveBack := stealing(t, asFreeBSD(false))
	p := bindTable(t, sys, loopback4)
	require.NoError(t, p.Become(serve))
	err := p.Become(refuse)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.NotErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, p.addr.String()+` was lost while it became "refuse"`)
	assert.ErrorContains(t, err, "on freebsd; bind another port: ")
	require.Error(t, p.Become(serve), "it is still lost")
	giveBack()
	require.NoError(t, p.Become(serve))
	requireServed(t, p)
}

// The same without a thief: a table without SO_REUSEADDR cannot come back beside a live connection
// on Linux.
func TestPortableIsLostBesideALiveConnection(t *testing.T) {
	t.Parallel()
	p := bindTable(t, asWindows(false), loopback4)
	require.NoError(t, p.Become(serve))
	client, server := requireServed(t, p)
	require.ErrorIs(t, p.Become(refuse), syscall.EADDRINUSE)
	requirePasses(t, client, server)
	abort(server)
	require.NoError(t, p.Become(refuse))
	requireRefused(t, p)
}

func TestPortableFallsBack(t *testing.T) {
	t.Parallel()
	made := errors.New("made up")
	fail := func(uintptr) error { return made }
	for _, tt := range []struct {
		name  string
		table func(bool) platform
		spoil func(*platform)
		to    network.State
		want  string // the answer that it gives instead
		way   way
	}{
		{"drop to refuse", asFreeBSD, func(s *platform) { s.silence = fail }, drop, "refuse", bound},
		{"drop to holder", asMacOS, func(s *platform) { s.silence = fail }, drop, "refuse", connected},
		{"refuse to bound", asMacOS, func(s *platform) { s.reuse = func(uintptr, bool) error { return made } },
			refuse, "bound", bound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sys := tt.table(false)
			tt.spoil(&sys)
			p := bindTable(t, sys, loopback4)
			require.NoError(t, p.Become(serve))
			client, server := requireServed(t, p)
			err := p.Become(tt.to)
			require.ErrorIs(t, err, made)
			assert.ErrorContains(t, err, `did not become "`+tt.to.Answer.String()+`" but "`+tt.want+`": `)
			assert.Equal(t, tt.way, p.now.way)
			requireRefused(t, p)
			requirePasses(t, client, server)
			require.NoError(t, p.Become(serve))
			requireServed(t, p)
		})
	}
}

func TestPortableTriesTwice(t *testing.T) {
	t.Parallel()
	sys := asMacOS(false)
	failures, reuse := 1, sys.reuse
	sys.reuse = func(fd uintptr, on bool) error {
		if failures > 0 {
			failures--
			return errors.New("made up")
		}
		return reuse(fd, on)
	}
	p := bindTable(t, sys, loopback4)
	require.NoError(t, p.Become(refuse), "what it is asked for is what it does")
	assert.Equal(t, refuse, p.state)
	requireRefused(t, p)
}

// Become that is under way when Close comes ends with it, and leaves nothing.
func TestPortableCloseEndsBecome(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		p := bindTable(t, asMacOS(false), loopback4)
		reuse, inside := p.sys.reuse, make(chan struct{}, 1)
		p.sys.reuse = func(fd uintptr, on bool) error {
			inside <- struct{}{}
			<-p.ctx.Done() // until Close has begun
			if fails {
				return errors.New("made up")
			}
			return reuse(fd, on)
		}
		got := make(chan error, 1)
		go func() { got <- p.Become(refuse) }()
		<-inside
		require.NoError(t, p.Close())
		require.ErrorIs(t, <-got, net.ErrClosed)
		requireRefused(t, p)
		next, err := bindPortable(t.Context(), p.addr, asMacOS(false))
		require.NoError(t, err, "the port is free")
		require.NoError(t, next.Close())
	}
}

func TestPortableCloseAtAnyTime(t *testing.T) {
	t.Parallel()
	eachPortable(t, reuseTables, func(t *testing.T, like *portable) {
		for i := range 10 {
			p := bindTable(t, like.sys, like.addr.IP)
			var users sync.WaitGroup
			users.Go(func() { becomeUntilClosed(t, p) })
			for range 2 {
				users.Go(func() { acceptUntilClosed(t, p) })
				users.Go(func() {
					for range i % 5 { // so that it comes early and late
						if c, err := dial(t, p, 10*time.Second); err == nil {
							_ = c.Close()
						}
					}
					assert.NoError(t, p.Close())
				})
			}
			users.Wait()
			require.NoError(t, p.Close())
			assert.ErrorIs(t, p.Become(serve), net.ErrClosed)
		}
	})
}

func becomeUntilClosed(t *testing.T, p *portable) {
	for {
		for _, s := range []network.State{serve, refuse, {Answer: network.Listen, Hold: time.Microsecond}, {}} {
			err := p.Become(s)
			if AddressInUse(err) { // lost to whoever bound it in the instant in which it was free
				return
			}
			if err != nil {
				assert.ErrorIs(t, err, net.ErrClosed)
				return
			}
		}
	}
}

func acceptUntilClosed(t *testing.T, p *portable) {
	for {
		c, err := p.Accept()
		if err != nil {
			assert.ErrorIs(t, err, net.ErrClosed)
			return
		}
		_ = c.Close()
	}
}

// A stranger who reaches the holder's listener first gets RST, and the holder is made all the same.
func TestHolderResetsStrangers(t *testing.T) {
	t.Parallel()
	ln, err := listenAt(t.Context(), &net.TCPAddr{IP: loopback4}, nil)
	require.NoError(t, err)
	defer ln.Close()
	var d net.Dialer
	stranger, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	defer stranger.Close()
	near, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := acceptFrom(ln, near.LocalAddr())
	require.NoError(t, err)
	defer far.Close()
	requirePasses(t, near, far)
	_, err = stranger.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
