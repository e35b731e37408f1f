package rawsock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// needs skips the test of a family that this host does not have.
func needs(t *testing.T, v6 bool) {
	t.Helper()
	if v6 {
		manytests.NeedsIPv6(t)
	}
}

// needsCut skips a test that partitions what p has accepted, where that cannot be.
func needsCut(t *testing.T, p network.Port) {
	t.Helper()
	if p.Addr().(*net.TCPAddr).IP.To4() != nil {
		manytests.NeedsMinTTL(t)
	}
}

// eachFamily runs f with a port that listens, on IPv4 and on IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, p network.Port)) {
	t.Helper()
	for _, nw := range []string{"tcp4", "tcp6"} {
		t.Run(nw, func(t *testing.T) {
			t.Parallel()
			needs(t, nw == "tcp6")
			p, err := Loopback{}.Bind(t.Context(), nw, "")
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, p.Close()) })
			require.NoError(t, p.Become(serve))
			f(t, p)
		})
	}
}

// pair connects one connection.
func pair(tb testing.TB, p network.Port) (client, server network.Conn) {
	tb.Helper()
	client, err := Loopback{}.Connect(tb.Context(), "tcp", p.Addr().String(), network.ConnectOptions{})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = client.Close() })
	server, err = p.Accept()
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = server.Close() })
	return client, server
}

// awaitLost waits until the kernel has dropped something that was sent to c.
func awaitLost(tb testing.TB, c network.Conn) {
	tb.Helper()
	for {
		var n int
		err := control(c.(*conn), func(fd int) (err error) { n, err = drops(fd); return err })
		require.NoError(tb, err)
		if n > 0 {
			return
		}
	}
}

func unread(tb testing.TB, c network.Conn) (n int) {
	tb.Helper()
	require.NoError(tb, control(c.(*conn), func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	}))
	return n
}

func TestPartitionLosesNothing(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		for _, cutClient := range []bool{false, true} {
			far, near := pair(t, p)
			if cutClient {
				far, near = near, far
			}
			require.NoError(t, near.Heal(), "there need be no partition")
			for range 2 {
				require.NoError(t, near.Partition())
				require.NoError(t, near.Partition(), "a second partition is the same one")
				_, err := far.Write([]byte("lost for now"))
				require.NoError(t, err)
				awaitLost(t, near)
				assert.Zero(t, unread(t, near))
				require.NoError(t, near.Heal())
				got := make([]byte, 12)
				_, err = io.ReadFull(near, got)
				require.NoError(t, err)
				assert.Equal(t, "lost for now", string(got))
			}
			requirePasses(t, far, near)
		}
	})
}

// A write of many megabytes blocks in the partition, and is whole after it.
func TestPartitionHoldsALongWriteBack(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		client, server := pair(t, p)
		sent := make([]byte, 12<<20)
		seed := rand.NewChaCha8([32]byte{1})
		_, _ = seed.Read(sent)
		written := make(chan error, 1)
		go func() {
			_, err := client.Write(sent)
			written <- errors.Join(err, client.CloseWrite())
		}()
		got := make([]byte, 1<<20)
		_, err := io.ReadFull(server, got) // in the middle of the stream
		require.NoError(t, err)
		require.NoError(t, server.Partition())
		awaitStill(t, server)
		select {
		case err := <-written:
			require.Fail(t, "the write ended in the partition", "%v", err)
		default:
		}
		require.NoError(t, server.Heal())
		rest, err := io.ReadAll(server)
		require.NoError(t, err)
		require.NoError(t, <-written)
		assert.True(t, string(append(got, rest...)) == string(sent), "%d bytes, not the same", len(got)+len(rest))
	})
}

// awaitStill waits until something was lost and two looks find the same number of bytes.
func awaitStill(tb testing.TB, c network.Conn) {
	tb.Helper()
	awaitLost(tb, c)
	before := unread(tb, c)
	awaitLost(tb, c)
	assert.Equal(tb, before, unread(tb, c), "bytes arrive in a partition")
}

func TestPartitionMakesTheOtherKernelGiveUp(t *testing.T) {
	t.Parallel()
	manytests.KernelTimer(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		for _, tt := range []struct {
			name   string
			option func(c *net.TCPConn) error
			write  bool
		}{
			{"TCP_USER_TIMEOUT", func(c *net.TCPConn) error {
				return control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 300) })
			}, true},
			{"keep-alive", func(c *net.TCPConn) error {
				return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1})
			}, false},
		} {
			client, server := pair(t, p) // here, so that the parallel ones do not take each other's
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				require.NoError(t, tt.option(client.(*conn).TCPConn))
				require.NoError(t, server.Partition())
				if tt.write {
					_, err := client.Write([]byte("x"))
					require.NoError(t, err)
				}
				_, err := client.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				state, err := server.Peer()
				require.NoError(t, err)
				assert.Equal(t, network.PeerOpen, state, "our end must not know")
			})
		}
	})
}

// After Close neither end may linger in the kernel: a FIN that is sent into a partition would keep
// both for 33 s.
func TestCloseInAPartitionIsAnswered(t *testing.T) {
	t.Parallel()
	manytests.NeedsProc(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		for _, tt := range []struct {
			name string
			end  func(network.Conn) error
			want error
		}{
			{"close", network.Conn.Close, io.EOF},
			{"reset", network.Conn.Reset, syscall.ECONNRESET},
		} {
			client, server := pair(t, p)
			require.NoError(t, server.Partition())
			require.NoError(t, tt.end(server))
			_, err := client.Read(make([]byte, 1))
			require.ErrorIs(t, err, tt.want, tt.name)
			state, err := client.AwaitPeerEnd()
			require.NoError(t, err)
			assert.NotEqual(t, network.PeerOpen, state)
			require.NoError(t, client.Close())
			requireGone(t, client)
		}
	})
}

// requireGone waits until neither socket of c is in a state that waits for the other end. It counts
// looks: among thousands of sockets one takes long.
func requireGone(t *testing.T, c network.Conn) {
	t.Helper()
	for range 5000 {
		if !lingers(t, c) {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatal("a socket waits for the other end")
}

func lingers(t *testing.T, c network.Conn) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/self/net/" + c.LocalAddr().Network() + map[bool]string{true: "6"}[c.(*conn).v6()])
	require.NoError(t, err)
	port := func(a net.Addr) string { return fmt.Sprintf(":%04X ", a.(*net.TCPAddr).Port) }
	local, remote := port(c.LocalAddr()), port(c.RemoteAddr())
	for line := range strings.Lines(string(table)) {
		// Columns: number, local address, remote address, state: 04 is FIN_WAIT1, 09 LAST_ACK.
		if strings.Contains(line, local) && strings.Contains(line, remote) {
			if state := strings.Fields(line)[3]; state == "04" || state == "09" {
				return true
			}
		}
	}
	return false
}

func TestConnSaysThatItIsClosed(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		for _, end := range []func(network.Conn) error{network.Conn.Close, network.Conn.Reset} {
			client, server := pair(t, p)
			for _, c := range []network.Conn{client, server} {
				require.NoError(t, c.Partition())
				require.NoError(t, end(c))
				_, peerErr := c.Peer()
				_, awaitErr := c.AwaitPeerEnd()
				for _, err := range []error{c.Close(), c.Reset(), c.Partition(), c.Heal(), c.CloseRead(), c.CloseWrite(), peerErr, awaitErr} {
					assert.ErrorIs(t, err, net.ErrClosed)
				}
			}
		}
	})
}

func TestResetIsSeenAsReset(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		for _, byClient := range []bool{false, true} {
			a, b := pair(t, p)
			if byClient {
				a, b = b, a
			}
			_, err := a.Write([]byte("unread"))
			require.NoError(t, err)
			require.NoError(t, a.Reset())
			state, err := b.AwaitPeerEnd()
			require.NoError(t, err)
			assert.Equal(t, network.PeerRST, state)
		}
	})
}

func TestHalfCloseLeavesTheOtherHalf(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		client, server := pair(t, p)
		require.NoError(t, client.CloseWrite())
		state, err := server.AwaitPeerEnd()
		require.NoError(t, err)
		assert.Equal(t, network.PeerFIN, state)
		_, err = server.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(client, make([]byte, 1))
		require.NoError(t, err)
	})
}

// Some kernels do not have the option. The one for the other family is such an option.
func TestHealWithoutTheOption(t *testing.T) {
	t.Parallel()
	p, err := Loopback{}.Bind(t.Context(), "tcp4", "")
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Become(serve))
	client, err := dial(t, p, 10*time.Second)
	require.NoError(t, err)
	defer client.Close()
	err = control(client.(*net.TCPConn), func(fd int) error { return setMinTTL(fd, true, 0) })
	require.ErrorIs(t, err, unix.ENOPROTOOPT)
	require.NoError(t, healed(client.(*net.TCPConn), true))
}

func TestPartitionIsRefusedWhereItCannotBe(t *testing.T) {
	t.Parallel()
	manytests.NeedsMinTTL(t)
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var d net.Dialer
	d.SetMultipathTCP(true)
	nc, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	c, err := plain(nc)
	require.NoError(t, err)
	defer c.Close()
	if yes, err := c.(*conn).MultipathTCP(); err != nil || !yes {
		t.Skip("this kernel has no MPTCP")
	}
	err = c.Partition()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "the connection is MPTCP")
	assert.NoError(t, c.Heal())

	err = partitionIf(false, c.(*conn).TCPConn, false)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "linux: IP_MINTTL has no effect")
}

// manyPairs makes n connections, of which the far ends are clients.
func manyPairs(tb testing.TB, n int) (far, near []network.Conn) {
	tb.Helper()
	p, err := Loopback{}.Bind(tb.Context(), "tcp", "")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = p.Close() })
	require.NoError(tb, p.Become(serve))
	for range n {
		c, s := pair(tb, p)
		far, near = append(far, c), append(near, s)
	}
	return far, near
}

func TestPartitionOfManyLosesNothing(t *testing.T) {
	t.Parallel()
	manytests.NeedsMinTTL(t)
	manytests.KernelTimer(t)
	far, near := manyPairs(t, 300)
	for _, c := range near {
		require.NoError(t, c.Partition())
	}
	for i, c := range far {
		_, err := c.Write([]byte{byte(i), byte(i >> 8)})
		require.NoError(t, err)
	}
	for _, c := range near {
		awaitLost(t, c)
		require.Zero(t, unread(t, c))
		require.NoError(t, c.Heal())
	}
	var wg sync.WaitGroup
	for i, c := range near {
		wg.Go(func() {
			var got [2]byte
			_, err := io.ReadFull(c, got[:])
			assert.NoError(t, err)
			assert.Equal(t, [2]byte{byte(i), byte(i >> 8)}, got)
		})
	}
	wg.Wait()
}

// BenchmarkPartitionOf1000 cuts and heals a thousand connections.
func BenchmarkPartitionOf1000(b *testing.B) {
	_, near := manyPairs(b, 1000)
	var cut, heal time.Duration
	for b.Loop() {
		start := time.Now()
		for _, c := range near {
			require.NoError(b, c.Partition())
		}
		cut += time.Since(start)
		start = time.Now()
		for _, c := range near {
			require.NoError(b, c.Heal())
		}
		heal += time.Since(start)
	}
	b.ReportMetric(float64(cut.Microseconds())/1000/float64(b.N), "ms/cut")
	b.ReportMetric(float64(heal.Microseconds())/1000/float64(b.N), "ms/heal")
}

func TestAwaitPeerEndIsEndedByItsDeadline(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		client, server := pair(t, p)
		require.NoError(t, server.Partition())
		require.NoError(t, client.CloseWrite())
		require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := server.AwaitPeerEnd()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "a FIN got through the partition")
	})
}

func TestAwaitAckedWaitsForTheOtherKernel(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		needsCut(t, p)
		client, server := pair(t, p)
		require.NoError(t, server.AwaitAcked(t.Context()), "nothing was written")
		require.NoError(t, client.Partition())
		_, err := server.Write([]byte("x"))
		require.NoError(t, err)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		require.ErrorIs(t, server.AwaitAcked(ctx), why)
		require.NoError(t, client.Heal())
		require.NoError(t, server.AwaitAcked(t.Context()))
		require.NoError(t, server.CloseWrite())
		require.NoError(t, server.AwaitAcked(t.Context()), "a FIN is no byte")

		require.NoError(t, client.Partition())
		_, err = client.Write([]byte("x"))
		require.NoError(t, err)
		got := make(chan error, 1)
		go func() { got <- client.AwaitAcked(t.Context()) }()
		require.NoError(t, client.Close())
		if err := <-got; err != nil { // else it was acknowledged first
			require.ErrorIs(t, err, net.ErrClosed)
		}
		require.ErrorIs(t, client.AwaitAcked(t.Context()), net.ErrClosed)
	})
}

func TestAwaitStuckWaitsForAWindow(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		client, server := pair(t, p)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		require.ErrorIs(t, server.AwaitStuck(ctx), why, "nothing was written")
		wrote := make(chan error, 1)
		go func() { _, err := server.Write(make([]byte, 64<<20)); wrote <- err }()
		require.NoError(t, server.AwaitStuck(t.Context()))
		require.Empty(t, wrote)
		require.NoError(t, client.Close())
		require.Error(t, <-wrote)
		require.NoError(t, server.Close())
		require.ErrorIs(t, server.AwaitStuck(t.Context()), net.ErrClosed)
	})
}

// A signal of the runtime's own that interrupts a look does not end the wait.
func TestAwaitStuckOutlivesSignals(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, p network.Port) {
		client, server := pair(t, p)
		var write sync.WaitGroup
		write.Go(func() { _, _ = server.Write(make([]byte, 64<<20)) })
		require.NoError(t, server.AwaitStuck(t.Context()))
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread, done := unix.Gettid(), make(chan struct{})
		var signals sync.WaitGroup
		signals.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
				}
			}
		})
		for range 5000 {
			if _, err := stuck(server.(*conn).TCPConn); !assert.NoError(t, err) {
				break
			}
		}
		close(done)
		signals.Wait()
		require.NoError(t, client.Close())
		write.Wait()
	})
}

// An end that never reads costs a look every 20 ms.
func TestAwaitAckedLooksMoreAndMoreRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		looks := 0
		err := awaitAcked(ctx, func() (int, error) { looks++; return 1, nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, looks, 3100)
	})
}
