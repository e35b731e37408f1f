package rawsock

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// The tables of these tests do on Linux's kernel what other systems' tables do on theirs. Where the other kernel's answer
// cannot be had (macOS leaves SYNs for a bound socket unanswered, Linux refuses them) the way next to it stands in.
func asFreeBSD(bool) platform {
	sys := bsd("linux") // the number of IP_MINTTL differs, nothing else
	sys.goos = "freebsd"
	return sys
}

func asMacOS(v6 bool) platform {
	sys := bsd("darwin")
	sys.drop4, sys.drop6, sys.silence = silent, silent, minTTL(v6)
	return sys
}

func asWindows(v6 bool) platform {
	return platform{goos: "windows", refuse: connected, drop4: silent, drop6: silent, silence: minTTL(v6),
		bind: func(a *net.TCPAddr, _ bool) (io.Closer, int, error) { return bindOnly(a, false) }}
}

func minTTL(v6 bool) func(fd uintptr) error {
	return func(fd uintptr) error { return setMinTTL(int(fd), v6, 255) }
}

// eachPortable runs f on a new port of each table and family.
func eachPortable(t *testing.T, tables map[string]func(v6 bool) platform, f func(t *testing.T, p *portable)) {
	t.Helper()
	for name, table := range tables {
		for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
			v6 := ip.To4() == nil
			t.Run("as "+name+" "+ipName(v6), func(t *testing.T) {
				t.Parallel()
				f(t, bindTable(t, table(v6), ip))
			})
		}
	}
}

func bindTable(t *testing.T, sys platform, ip net.IP) *portable {
	t.Helper()
	for {
		p, err := bindPortable(t.Context(), &net.TCPAddr{IP: ip, Port: quietPort()}, sys)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, p.Close()) })
		return p.(*portable)
	}
}

// quietPort returns a port below the ephemeral range: none that the kernel could give to a test that runs beside this one
// in the instant in which a change of state leaves the port free.
func quietPort() int {
	const low = 10000
	return low + int(portCount.Add(1)%uint32(max(portRange().low-low, 1000)))
}

var (
	allTables = map[string]func(bool) platform{"freebsd": asFreeBSD, "darwin": asMacOS, "windows": asWindows}
	// reuseTables can change the way beside live connections. Windows can, too, but Linux needs SO_REUSEADDR for it.
	reuseTables = map[string]func(bool) platform{"freebsd": asFreeBSD, "darwin": asMacOS}
)

// requireSilent dials a port that drops: the dial ends with its own limit, and the kernel has counted the SYN.
func requireSilent(t *testing.T, p *portable) {
	t.Helper()
	require.Equal(t, silent, p.now.way)
	before := silenced(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dialing sync.WaitGroup
	dialing.Go(func() {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		assert.ErrorContains(t, err, "operation was canceled")
	})
	require.Eventually(t, func() bool { return silenced(t, p) > before }, 10*time.Second, time.Millisecond)
	cancel()
	dialing.Wait()
}

// silenced is the kernel's count of what this listener dropped.
func silenced(t *testing.T, p *portable) (n int) {
	t.Helper()
	err := control(p.now.ln.(*net.TCPListener), func(fd int) (err error) { n, err = drops(fd); return err })
	assert.NoError(t, err)
	return n
}

// requireState tries what the port answers. Where it listens, both ends of the connection are returned.
func requireState(t *testing.T, p *portable, s network.State) (client, server net.Conn) {
	t.Helper()
	switch s.Answer {
	case network.Listen:
		return requireServed(t, p)
	case network.Drop:
		requireSilent(t, p)
	default:
		requireRefused(t, p)
	}
	return nil, nil
}

// allChanges goes through every change from one state to another.
func allChanges(p *portable) []network.State {
	if p.sys.goos == "freebsd" && p.addr.IP.To4() == nil { // which cannot drop
		return []network.State{serve, {}, serve, refuse, serve, serve, refuse, {}, refuse, refuse}
	}
	return []network.State{serve, {}, serve, refuse, serve, drop, serve, serve, refuse, {}, refuse, drop, refuse, refuse,
		{}, drop, {}, {}, drop, drop, serve, refuse}
}
