package rawsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

func TestPortableCyclesBesideALiveConnection(t *testing.T) {
	t.Parallel()
	eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
		addr := p.Addr().String()
		requireRefused(t, p)
		require.NoError(t, p.Become(serve))
		a, b := requireServed(t, p)
		for i, s := range allChanges(p) {
			require.NoError(t, p.Become(s), "step %d", i)
			requireState(t, p, s)
			requirePasses(t, a, b)
			require.Equal(t, addr, p.Addr().String())
		}
	})
}

func TestPortableCyclesWithoutReuse(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		for i, s := range allChanges(p) {
			require.NoError(t, p.Become(s), "step %d", i)
			if client, server := requireState(t, p, s); server != nil {
				abort(server) // leaves nothing on the port
				_ = client.Close()
			}
		}
	})
}

func TestPortableManyCycles(t *testing.T) {
	t.Parallel()
	eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
		for range 50 {
			require.NoError(t, p.Become(serve))
			c, s := requireServed(t, p)
			require.NoError(t, p.Become(refuse))
			requireRefused(t, p)
			_ = s.Close() // the fixture's side first: TIME_WAIT stays on our port
			_ = c.Close()
		}
	})
}

func TestPortableRefusesEveryTime(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		require.NoError(t, p.Become(refuse))
		var dialers sync.WaitGroup
		for range 4 {
			dialers.Go(func() {
				for range 25 {
					c, err := dial(t, p, 10*time.Second)
					if err == nil {
						_ = c.Close()
					}
					assert.ErrorIs(t, err, syscall.ECONNREFUSED)
				}
			})
		}
		dialers.Wait()
	})
}

// On Linux nobody can take the port between two changes, in any way; so SO_REUSEADDR goes in time.
func TestPortableIsHeld(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		requireHeld(t, p)
		for _, s := range allChanges(p) {
			require.NoError(t, p.Become(s))
			requireHeld(t, p)
		}
	})
}

func requireHeld(t *testing.T, p *portable) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", p.addr.String())
	if err == nil {
		_ = ln.Close()
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE, "%q, way %d", p.state.Answer, p.now.way)
	c, err := (&net.Dialer{LocalAddr: p.addr}).DialContext(t.Context(), "tcp", p.addr.String())
	if err == nil {
		_ = c.Close()
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE, "%q, way %d", p.state.Answer, p.now.way)
}

func TestPortableHoldIsNeverEarly(t *testing.T) {
	t.Parallel()
	const hold = 100 * time.Millisecond
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: hold}))
		var due []time.Time
		for range 5 {
			due = append(due, time.Now().Add(hold)) // before the connect, which arrives later
			c, err := dial(t, p, 10*time.Second)
			require.NoError(t, err)
			defer c.Close()
		}
		for i, d := range due {
			c, err := p.Accept()
			require.NoError(t, err)
			assert.False(t, time.Now().Before(d), "connection %d came out early", i)
			_ = c.Close()
		}
	})
}

// Accept waits through every other state.
func TestPortableAcceptOutlivesChanges(t *testing.T) {
	t.Parallel()
	eachPortable(t, allTables, func(t *testing.T, p *portable) {
		type accepted struct {
			net.Conn
			err error
		}
		got := make(chan accepted, 1)
		go func() { c, err := p.Accept(); got <- accepted{c, err} }()
		for _, s := range allChanges(p) {
			require.NoError(t, p.Become(s))
		}
		require.NoError(t, p.Become(serve))
		c, err := dial(t, p, 10*time.Second)
		require.NoError(t, err)
		defer c.Close()
		a := <-got
		require.NoError(t, a.err)
		defer a.Close()
		requirePasses(t, c, a)
	})
}

// What nobody has accepted is reset by a change, whether the kernel had it or the port. (Without
// SO_REUSEADDR, the last segment of a handshake, processed late, could bar Linux from the port.)
func TestPortableChangeResetsWhatIsQueued(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Hour} {
		t.Run(hold.String(), func(t *testing.T) {
			t.Parallel()
			eachPortable(t, reuseTables, func(t *testing.T, p *portable) {
				require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: hold}))
				c, err := dial(t, p, 10*time.Second)
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, p.Become(refuse))
				_, err = c.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ECONNRESET)
			})
		})
	}
}

func TestPortableCloseEndsEverything(t *testing.T) {
	t.Parallel()
	for _, s := range []network.State{{}, refuse, serve, drop, {Answer: network.Listen, Hold: time.Hour}} {
		t.Run(s.Answer.String()+s.Hold.String(), func(t *testing.T) {
			t.Parallel()
			eachPortable(t, allTables, func(t *testing.T, p *portable) {
				if err := p.Become(s); err != nil {
					require.ErrorIs(t, err, errors.ErrUnsupported)
				}
				got := make(chan error, 1)
				go func() { _, err := p.Accept(); got <- err }()
				require.NoError(t, p.Close())
				require.ErrorIs(t, <-got, net.ErrClosed)
				require.NoError(t, p.Close())
				require.ErrorIs(t, p.Become(serve), net.ErrClosed)
				requireNobody(t, p)
			})
		})
	}
}

// The tables of these tests do on Linux's kernel what other systems' tables do on theirs. Where the
// other kernel's answer is not available (macOS leaves SYNs for a bound socket unanswered, Linux
// refuses them) the way next to it stands in.
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
				needs(t, v6)
				f(t, bindTable(t, table(v6), ip))
			})
		}
	}
}

func bindTable(t *testing.T, sys platform, ip net.IP) *portable {
	t.Helper()
	if ip.To4() != nil {
		manytests.NeedsMinTTL(t) // with which these tables drop
	}
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

// quietPort returns a port below the ephemeral range: none that the kernel could give to a test
// that runs beside this one in the instant in which a change of state leaves the port free.
func quietPort() int {
	const low = 10000
	return low + int(portCount.Add(1)%uint32(max(portRange().low-low, 1000)))
}

var (
	allTables = map[string]func(bool) platform{"freebsd": asFreeBSD, "darwin": asMacOS, "windows": asWindows}
	// reuseTables can change the way beside live connections. Windows can, too, but Linux needs
	// SO_REUSEADDR for it.
	reuseTables = map[string]func(bool) platform{"freebsd": asFreeBSD, "darwin": asMacOS}
)

// requireSilent dials a port that drops: the dial ends with its own limit, and the kernel has
// counted the SYN.
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

// requireState tries what the port answers. Where it listens, both ends of the connection are
// returned.
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

// usedAndClosed takes p through all changes, and closes it with a connection in its queue.
func usedAndClosed(t *testing.T, p *portable) {
	t.Helper()
	for _, s := range allChanges(p) {
		require.NoError(t, p.Become(s))
	}
	require.NoError(t, p.Become(network.State{Answer: network.Listen, Hold: time.Hour}))
	c, err := dial(t, p, 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, p.Close())
	_ = c.Close()
}

// Not parallel: it counts the process's descriptors, and looks at all its goroutines.
func TestPortableLeavesNothing(t *testing.T) {
	before := openDescriptors(t)
	for _, ip := range []net.IP{loopback4, net.IPv6loopback} {
		t.Run(ipName(ip.To4() == nil), func(t *testing.T) {
			needs(t, ip.To4() == nil)
			for _, table := range allTables {
				usedAndClosed(t, bindTable(t, table(ip.To4() == nil), ip))
			}
		})
	}
	require.Equal(t, before, openDescriptors(t))
	stacks := make([]byte, 1<<20)
	assert.NotContains(t, string(stacks[:runtime.Stack(stacks, true)]), "(*portable).pump")
}

// leaveDescriptors lets the process open n more descriptors, until the end of the test. The test
// must not be parallel.
func leaveDescriptors(t *testing.T, n int) {
	t.Helper()
	var old, limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	limit = old
	limit.Cur = uint64(openDescriptors(t) + 32)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { assert.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) })
	var fill []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			break
		}
		fill = append(fill, f)
	}
	t.Cleanup(func() {
		for _, f := range fill {
			_ = f.Close()
		}
	})
	for range n {
		require.NoError(t, fill[0].Close())
		fill = fill[1:]
	}
}

func TestPortableWithoutDescriptors(t *testing.T) {
	p := bindTable(t, asMacOS(false), loopback4)
	queued := bindTable(t, asMacOS(false), loopback4)
	require.NoError(t, queued.Become(serve))
	client, err := dial(t, queued, 10*time.Second)
	require.NoError(t, err)
	defer client.Close()
	t.Run("none left", func(t *testing.T) {
		leaveDescriptors(t, 0)
		_, err := bindPortable(t.Context(), &net.TCPAddr{IP: loopback4}, asMacOS(false))
		require.ErrorIs(t, err, syscall.EMFILE)
		assert.True(t, strings.HasPrefix(err.Error(), "no descriptors left; close what the test holds open, or raise ulimit -n: "), err)

		err = p.Become(refuse) // takes three, and gives one back first
		require.ErrorIs(t, err, syscall.EMFILE)
		assert.ErrorContains(t, err, `did not become "refuse" but "bound": no descriptors left; `)

		for range 2 {
			_, err = queued.Accept()
			require.ErrorIs(t, err, syscall.EMFILE)
		}
	})
	require.NoError(t, p.Become(refuse))
	requireRefused(t, p)
	server, err := queued.Accept()
	require.NoError(t, err)
	defer server.Close()
	requirePasses(t, client, server)
}
