package rawsock

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

func full(n int) network.State {
	return network.State{Answer: network.Listen, Backlog: n, Hold: network.Forever}
}

// fill connects n times, one after the other, and then once more, without success.
func fill(t *testing.T, p network.Port, n int) (clients []net.Conn) {
	t.Helper()
	for i := range n {
		c, err := dial(t, p, 10*time.Second)
		require.NoError(t, err, "connection %d of %d", i+1, n)
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	requireDropped(t, p)
	return clients
}

func TestBacklogAdmitsAsManyAsAsked(t *testing.T) {
	t.Parallel()
	manytests.NeedsQueue(t)
	eachPort(t, func(t *testing.T, p *port) {
		for _, n := range []int{1, 2, 5} {
			require.NoError(t, p.Become(full(n)))
			fill(t, p, n)
			require.NoError(t, p.Become(refuse))
			requireRefused(t, p)
		}
		require.NoError(t, p.Become(full(1)))
		fill(t, p, 1)
		require.NoError(t, p.Become(full(3))) // one is in there
		fill(t, p, 2)
		require.NoError(t, p.Become(drop))
		requireDropped(t, p)
		require.NoError(t, p.Become(refuse))
		requireRefused(t, p)
		require.NoError(t, p.Become(serve))
		for range 10 {
			c, err := dial(t, p, 10*time.Second)
			require.NoError(t, err)
			_ = c.Close()
		}
	})
}

// What waits in a full queue is served once the queue is released, and what hangs outside comes in.
func TestBacklogIsReleased(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(full(2)))
		clients := fill(t, p, 2)
		before, _, err := p.Dropped()
		require.NoError(t, err)
		var hung sync.WaitGroup
		defer hung.Wait()
		hung.Go(func() {
			c, err := dial(t, p, 20*time.Second)
			if assert.NoError(t, err) {
				_ = c.Close()
			}
		})
		awaitDropped(t, p, before+1)
		require.NoError(t, p.Become(serve))
		for _, c := range clients {
			s, err := p.Accept()
			require.NoError(t, err)
			requirePasses(t, c, s)
			require.NoError(t, s.Close())
		}
		s, err := p.Accept()
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

// requireWindow writes without reading at the other end.
func requireWindow(t *testing.T, client, server net.Conn, small bool) {
	t.Helper()
	sent := make([]byte, 1<<20) // more than an initial congestion window of 200 segments takes, and less than no window
	if !small {
		n, err := client.Write(sent) // no deadline: a small window would hang here
		require.NoError(t, err)
		require.Len(t, sent, n)
		return
	}
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	n, err := client.Write(sent)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	got := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, server)
		got <- n
	}()
	require.NoError(t, client.SetWriteDeadline(time.Time{}))
	more, err := client.Write(sent[:32<<10])
	require.NoError(t, err)
	require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
	require.EqualValues(t, n+more, <-got, "once it is read, the rest goes through")
}

func TestSmallWindowInEveryChangeOfState(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	small := network.State{Answer: network.Listen, SmallWindow: true}
	later := small
	later.Handshake = time.Millisecond
	eachPort(t, func(t *testing.T, p *port) {
		for i, s := range []network.State{small, serve, small, refuse, small, refuse, serve, drop, small, drop, serve, later, serve} {
			require.NoError(t, p.Become(s), "step %d", i)
			if s.Answer == network.Listen {
				client, server := requireServed(t, p)
				requireWindow(t, client, server, s.SmallWindow)
				_ = client.(*net.TCPConn).SetLinger(0)
				_ = client.Close()
			}
		}
	})
}

func TestConnectWithASmallWindow(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		c, err := Loopback{}.Connect(t.Context(), "tcp", p.Addr().String(), network.ConnectOptions{SmallWindow: true})
		require.NoError(t, err)
		defer c.Close()
		s, err := p.Accept()
		require.NoError(t, err)
		defer s.Close()
		requireWindow(t, s, c, true)
	})
}

// After a small window the listener must be as it was in all that its connections inherit.
func TestSmallWindowLeavesNoTrace(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		options := func() (values [3]int) {
			require.NoError(t, p.control(func(fd int) (err error) {
				for i, o := range [][2]int{{unix.SOL_SOCKET, unix.SO_RCVBUF}, {unix.SOL_SOCKET, unix.SO_BUF_LOCK}, {unix.IPPROTO_TCP, unix.TCP_MAXSEG}} {
					if values[i], err = unix.GetsockoptInt(fd, o[0], o[1]); err != nil {
						return err
					}
				}
				return nil
			}))
			return values
		}
		require.NoError(t, p.Become(serve))
		before := options()
		require.NoError(t, p.Become(network.State{Answer: network.Listen, SmallWindow: true}))
		require.NotEqual(t, before, options())
		require.NoError(t, p.Become(serve))
		require.Equal(t, before, options())
	})
}

func TestBadStatesAreNamed(t *testing.T) {
	t.Parallel()
	portable, err := bindPortable(t.Context(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, here)
	require.NoError(t, err)
	t.Cleanup(func() { _ = portable.Close() })
	eachPort(t, func(t *testing.T, p *port) {
		for _, tt := range []struct {
			state network.State
			want  string
		}{
			{network.State{Answer: 9}, "State.Answer is 9; want Own, Refuse, Listen, Drop or Lend"},
			{network.State{Answer: network.Absent}, `State.Answer is "absent"; want it on a unix socket only, since a TCP address is always there`},
			{network.State{Answer: network.Listen, Backlog: -1}, "State.Backlog is -1; want 0 (all that the platform gives) or more"},
			{network.State{Answer: network.Drop, Backlog: 2}, `State.Backlog is 2, and State.Answer is "drop"; want network.Listen, or 0`},
			{network.State{SmallWindow: true}, `State.SmallWindow is true, and State.Answer is "bound"; want network.Listen, or false`},
		} {
			require.EqualError(t, p.Become(tt.state), tt.want)
			require.EqualError(t, portable.Become(tt.state), tt.want)
		}
		require.ErrorContains(t, p.Become(full(1<<30)), "State.Backlog is 1073741824; want at most ")
		requireRefused(t, p) // as before
	})
}

// mechanisms are what each state is made by, on a port that answers as it was told.
func mechanisms(t *testing.T, p network.Port, want map[network.State]string) {
	t.Helper()
	for s, mechanism := range want {
		require.NoError(t, p.Become(s))
		assert.Equal(t, mechanism, p.Mechanism(), "%+v", s)
	}
}

func TestMechanismOfEachState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		ip     net.IP
		minTTL bool
		drop   string
	}{
		{"IPv4", net.IPv4(127, 0, 0, 1), true, "IP_MINTTL"},
		{"IPv6", net.IPv6loopback, true, "IPV6_MINHOPCOUNT"},
		{"without the option", net.IPv4(127, 0, 0, 1), false, "full accept queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needs(t, tt.ip.To4() == nil)
			p, err := bindPort(&net.TCPAddr{IP: tt.ip}, tt.minTTL)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, p.Close()) })
			slow := tt.drop + ", until a SYN is sent again"
			if canOpen(p.v6) {
				slow = tt.drop + ", then simultaneous open"
			}
			mechanisms(t, p, map[network.State]string{
				{}:                       "bound, not listening",
				{Answer: network.Refuse}: "bound, not listening",
				{Answer: network.Drop}:   tt.drop,
				{Answer: network.Listen}: "listening",
				{Answer: network.Listen, Hold: time.Hour}:                       "listening, accepting late",
				{Answer: network.Listen, Backlog: 2, Hold: network.Forever}:     "listen(fd, 1), accepting nothing",
				{Answer: network.Listen, SmallWindow: true}:                     "listening, TCP_MAXSEG 1448, SO_RCVBUF 1",
				{Answer: network.Listen, Handshake: time.Hour}:                  slow,
				{Answer: network.Listen, Handshake: time.Hour, Hold: time.Hour}: tt.drop + ", until a SYN is sent again",
			})
		})
	}
}

func TestMechanismOfAUnixSocket(t *testing.T) {
	t.Parallel()
	p, err := bindUnix("")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	mechanisms(t, p, map[network.State]string{
		{Answer: network.Refuse}:                                    "a file that no socket listens at",
		{Answer: network.Absent}:                                    "no file",
		{Answer: network.Listen}:                                    "listening",
		{Answer: network.Listen, Backlog: 1, Hold: network.Forever}: "listen(fd, 0), accepting nothing",
	})
	if p.(*unixPort).canHold(time.Hour) == nil {
		mechanisms(t, p, map[network.State]string{{Answer: network.Listen, Hold: time.Hour}: "listening, accepting late"})
	}
}

func TestMechanismOfOtherSystems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sys    func(v6 bool) platform
		refuse string
		drop   string
	}{
		{asFreeBSD, "bound, not listening", "IP_MINTTL"},
		{func(bool) platform { return bsd("darwin") }, "held by an end of a connection", "bound, not listening"},
		{asWindows, "held by an end of a connection", ""}, // the option's name is in a table that is not compiled here
	} {
		t.Run(tt.sys(false).goos, func(t *testing.T) {
			t.Parallel()
			mechanisms(t, bindTable(t, tt.sys(false), net.IPv4(127, 0, 0, 1)), map[network.State]string{
				{Answer: network.Refuse}:                  tt.refuse,
				{Answer: network.Drop}:                    tt.drop,
				{Answer: network.Listen}:                  "listening",
				{Answer: network.Listen, Hold: time.Hour}: "listening, accepting late",
			})
		})
	}
}

// A port that is lent is for who sets SO_REUSEADDR, and stays lent.
func TestLentPort(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		require.NoError(t, p.Become(network.State{Answer: network.Listen}))
		require.NoError(t, p.Become(network.State{Answer: network.Lend}))
		plain := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return onFD(raw, func(fd uintptr) error { return setReuseAddr(int(fd), 0) })
		}}
		_, err := plain.Listen(t.Context(), "tcp", p.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		ln, err := net.Listen("tcp", p.Addr().String())
		require.NoError(t, err)
		require.ErrorIs(t, p.Become(network.State{Answer: network.Listen}), errLent)
		require.NoError(t, p.Become(network.State{Answer: network.Lend}))
		require.NoError(t, ln.Close())
	})
}
