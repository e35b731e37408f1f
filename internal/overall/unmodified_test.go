package overall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/rpc"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// Tests named Unmodified need the overlay of package net: .ci/run has a stage for them.
func unmodified(t *testing.T, f func(t *testing.T, nw *simnet.Network)) {
	t.Helper()
	needsOverlay(t)
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Intercept(t)
		f(t, nw)
	})
}

func needsOverlay(t testing.TB) {
	t.Helper()
	if err := simnet.CanIntercept(); err != nil {
		t.Skip(err)
	}
}

func TestInterceptNeedsTheOverlay(t *testing.T) {
	t.Parallel()
	if simnet.CanIntercept() == nil {
		t.Skip("the overlay is there")
	}
	said := ""
	simnet.New(t).Intercept(fatal{t, &said})
	assert.Equal(t, "simnet.Intercept: package net is Go's own, and does not ask who makes its sockets;"+
		" run go test -overlay=$(go run example.com/go-sockettest/cmd/sockettest overlay)", said)
	assert.Nil(t, intercept.Current())
}

// A fatal notes what it is told.
type fatal struct {
	*testing.T
	said *string
}

func (f fatal) Fatalf(format string, args ...any) { *f.said = fmt.Sprintf(format, args...) }

// It is in docs/unmodified.md.
func TestUnmodifiedClientGivesUp(t *testing.T) {
	if err := simnet.CanIntercept(); err != nil {
		t.Skip(err) // the test was built without the overlay
	}
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Intercept(t)                                 // from here on net.Dial, net.Listen and lookups are nw's
		ep := sockettest.Start(t, fixtures.BlackHole{}) // on nw, without On
		client := http.Client{Timeout: 30 * time.Second}

		sockettest.Expect(t, ep, sockettest.TimedOut.At(30*time.Second), func() error {
			_, err := client.Get("http://" + ep.Addr())
			return err
		})
	})
}

func TestUnmodifiedLimitsOfTheKernel(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.TimedOut.At(131*time.Second), func() error {
			_, err := net.Dial("tcp", ep.Addr())
			return err
		})
		silent := sockettest.Start(t, fixtures.Silent{})
		c := dialTCP(t, silent.Addr())
		require.NoError(t, c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}))
		synctest.Wait() // until it is accepted
		silent.Conns()[0].Partition()
		sockettest.Expect(t, silent, sockettest.TimedOut.At(25*time.Second), func() error {
			_, err := c.Read(make([]byte, 1))
			return err
		})
	})
}

func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func TestUnmodifiedServers(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, nw *simnet.Network) {
		sockettest.NoLeaks(t)
		nw.Latency(time.Second)
		hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
		server := http.Server{Addr: ":80", Handler: hello} // rules:allow simulated
		over := make(chan error, 1)
		go func() { over <- server.ListenAndServe() }()
		time.Sleep(time.Second)
		secure := httptest.NewTLSServer(hello)
		defer secure.Close()
		client := secure.Client()
		for url, took := range map[string]time.Duration{"http://localhost/": 4 * time.Second, secure.URL: 6 * time.Second} {
			begin := time.Now()
			resp, err := client.Get(url)
			require.NoError(t, err)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, "hello", string(b))
			assert.Equal(t, took, time.Since(begin), url)
		}
		client.CloseIdleConnections()
		require.NoError(t, server.Shutdown(t.Context()))
		require.ErrorIs(t, <-over, http.ErrServerClosed)
	})
}

func TestUnmodifiedNames(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, nw *simnet.Network) {
		db := nw.Host("db.example", "10.1.2.3")
		sockettest.Start(t, fixtures.Echo{}, sockettest.On(db), sockettest.Address("10.1.2.3:1717"))
		var traced []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			DNSStart: func(i httptrace.DNSStartInfo) { traced = append(traced, i.Host) },
			DNSDone:  func(i httptrace.DNSDoneInfo) { traced = append(traced, i.Addrs[0].String()) },
		})
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", "db.example:1717")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		assert.Equal(t, []string{"db.example", "10.1.2.3"}, traced)
		hosts, err := net.LookupHost("DB.example.")
		require.NoError(t, err)
		assert.Equal(t, []string{"10.1.2.3"}, hosts)
		ips, err := net.DefaultResolver.LookupIP(t.Context(), "ip6", "localhost")
		require.NoError(t, err)
		assert.Equal(t, []net.IP{net.IPv6loopback}, ips)
		_, err = net.Dial("tcp", "nowhere.example:80")
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
		assert.True(t, dns.IsNotFound)
		assert.Equal(t, "dial tcp: lookup nowhere.example: no such host", err.Error())
		_, err = net.LookupHost("nowhere.example")
		require.ErrorAs(t, err, &dns)
		_, err = net.LookupTXT("db.example") // by a name server, which this network has not
		require.Error(t, err)
	})
}

// Chance goes by the address that is dialled, as without the overlay, and not by other dials.
func TestUnmodifiedChance(t *testing.T) {
	t.Parallel()
	took := map[time.Duration]bool{}
	for _, before := range [][]string{nil, {"127.0.0.1:2"}} {
		for _, own := range []bool{false, true} {
			unmodified(t, func(t *testing.T, nw *simnet.Network) {
				for _, addr := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
					sockettest.Start(t, fixtures.Echo{}, sockettest.Address(addr))
				}
				nw.Jitter(100 * time.Millisecond)
				dial := net.Dial
				if own {
					dial = nw.Dial
				}
				var begin time.Time
				for _, addr := range append(before, "127.0.0.1:1") {
					begin = time.Now()
					c, err := dial("tcp", addr)
					require.NoError(t, err)
					defer c.Close()
				}
				took[time.Since(begin)] = true
			})
		}
	}
	assert.Len(t, took, 1)
}

func TestUnmodifiedTCPIsReal(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1717})
		require.NoError(t, err)
		require.NoError(t, l.SetDeadline(time.Now().Add(time.Second)))
		_, err = l.AcceptTCP()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, "accept tcp4 127.0.0.1:1717: i/o timeout", err.Error())
		require.NoError(t, l.SetDeadline(time.Time{}))
		c, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 4711}, l.Addr().(*net.TCPAddr))
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.2:4711", c.LocalAddr().String())
		s, err := l.AcceptTCP()
		require.NoError(t, err)
		assert.Equal(t, c.LocalAddr(), s.RemoteAddr())
		for _, err := range []error{c.SetLinger(-1), c.SetNoDelay(false), c.SetKeepAlive(true), c.SetKeepAlivePeriod(time.Minute),
			c.SetReadBuffer(4096), c.SetWriteBuffer(4096), c.SetDeadline(time.Now().Add(time.Minute))} {
			require.NoError(t, err)
		}
		multi, err := c.MultipathTCP()
		require.NoError(t, err)
		assert.False(t, multi)
		_, err = c.File()
		assert.EqualError(t, err, "file tcp 127.0.0.2:4711->127.0.0.1:1717: a simulated socket has no file descriptor to copy")
		_, err = l.File()
		require.ErrorContains(t, err, "file tcp4 127.0.0.1:1717: a simulated socket")
		n, err := (&net.Buffers{[]byte("one "), nil, []byte("two")}).WriteTo(c)
		require.NoError(t, err)
		assert.EqualValues(t, 7, n)
		require.NoError(t, c.CloseWrite())
		b, err := io.ReadAll(s)
		require.NoError(t, err)
		assert.Equal(t, "one two", string(b))
		_, err = c.Write([]byte("late"))
		assert.EqualError(t, err, "write tcp 127.0.0.2:4711->127.0.0.1:1717: write: broken pipe")
		require.NoError(t, s.SetLinger(0))
		require.NoError(t, s.Close())
		_, err = c.Read(b)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		assert.EqualError(t, err, "read tcp 127.0.0.2:4711->127.0.0.1:1717: read: connection reset by peer")
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Close(), net.ErrClosed)
		require.NoError(t, l.Close())
		require.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
		_, err = net.Dial("tcp", "127.0.0.1:1717")
		assert.EqualError(t, err, "dial tcp 127.0.0.1:1717: connect: connection refused")
	})
}

func TestUnmodifiedCopies(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		const size = 1 << 20
		file, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		defer file.Close()
		_, err = io.WriteString(file, strings.Repeat("0123456789abcdef", size/16))
		require.NoError(t, err)
		_, err = file.Seek(0, io.SeekStart)
		require.NoError(t, err)
		ep := sockettest.Start(t, fixtures.Echo{})
		first, second := dialTCP(t, ep.Addr()), dialTCP(t, ep.Addr())
		var wg sync.WaitGroup
		wg.Go(func() { // from a file
			_, err := io.Copy(first, file)
			assert.NoError(t, err)
			assert.NoError(t, first.CloseWrite())
		})
		wg.Go(func() { // from a connection to another
			_, err := io.Copy(second, first)
			assert.NoError(t, err)
			assert.NoError(t, second.CloseWrite())
		})
		copied, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		defer copied.Close()
		n, err := io.Copy(copied, second) // to a file
		require.NoError(t, err)
		assert.EqualValues(t, size, n)
		wg.Wait()
		got, err := os.ReadFile(copied.Name())
		require.NoError(t, err)
		assert.Equal(t, strings.Repeat("0123456789abcdef", size/16), string(got))
	})
}

func TestUnmodifiedRawConns(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		ep := sockettest.Start(t, fixtures.Echo{})
		var named []string
		dialer := net.Dialer{Control: func(nw, addr string, c syscall.RawConn) error {
			named = append(named, nw, addr)
			return control(t, c, func(fd int) error { return sockpair.SetUserTimeout(fd, 7*time.Second) })
		}}
		c, err := dialer.Dial("tcp", ep.Addr())
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, []string{"tcp4", ep.Addr()}, named)
		raw, err := c.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		_, err = io.WriteString(c, "abc")
		require.NoError(t, err)
		b := make([]byte, 8)
		require.NoError(t, raw.Read(func(fd uintptr) bool {
			n, err := sockpair.Read(int(fd), b[:1])
			return err == nil && n == 1
		}))
		n, err := c.Read(b[1:])
		require.NoError(t, err)
		assert.Equal(t, "abc", string(b[:n+1]))
		ep.Conns()[0].Partition()
		_, err = io.WriteString(c, "abc")
		require.NoError(t, err)
		begin := time.Now()
		_, err = c.Read(b)
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.Equal(t, 7*time.Second, time.Since(begin))
		require.NoError(t, control(t, raw, func(fd int) error { // which would apply the options again
			assert.Equal(t, 7*time.Second, sockpair.UserTimeout(fd))
			return nil
		}))

		named = nil
		config := net.ListenConfig{Control: dialer.Control}
		l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:80")
		require.NoError(t, err)
		raw, err = l.(*net.TCPListener).SyscallConn()
		require.NoError(t, err)
		require.Error(t, raw.Read(func(uintptr) bool { return true }))
		require.NoError(t, l.Close())
		require.ErrorIs(t, raw.Control(func(uintptr) {}), net.ErrClosed)
		dialer.Control = func(string, string, syscall.RawConn) error { return io.ErrNoProgress }
		_, err = dialer.Dial("tcp", ep.Addr())
		require.ErrorIs(t, err, io.ErrNoProgress)
		assert.Equal(t, []string{"tcp4", "127.0.0.1:80"}, named)
	})
}

func control(t *testing.T, c syscall.RawConn, f func(fd int) error) (err error) {
	t.Helper()
	require.NoError(t, c.Control(func(fd uintptr) { err = f(int(fd)) }))
	return err
}

func TestUnmodifiedUDP(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		p, err := net.ListenPacket("udp", "127.0.0.1:53")
		require.NoError(t, err)
		s := p.(*net.UDPConn)
		d, err := net.Dial("udp", s.LocalAddr().String())
		require.NoError(t, err)
		c := d.(*net.UDPConn)
		own, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, s.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.2", own.LocalAddr().(*net.UDPAddr).IP.String())
		require.NoError(t, own.Close())
		for _, err := range []error{c.SetReadBuffer(1 << 16), c.SetWriteBuffer(1 << 16)} {
			require.NoError(t, err)
		}
		_, err = c.Write([]byte("one"))
		require.NoError(t, err)
		b := make([]byte, 2)
		n, _, flags, from, err := s.ReadMsgUDP(b, nil)
		require.NoError(t, err)
		assert.Equal(t, "on", string(b[:n]))
		assert.Equal(t, 0x20, flags, "MSG_TRUNC")
		assert.Equal(t, c.LocalAddr().String(), from.String())
		_, _, err = s.WriteMsgUDP([]byte("a"), nil, from)
		require.NoError(t, err)
		_, err = s.WriteToUDPAddrPort([]byte("b"), from.AddrPort())
		require.NoError(t, err)
		_, err = s.WriteTo([]byte("c"), from)
		require.NoError(t, err)
		_, _, err = s.WriteMsgUDPAddrPort([]byte("d"), nil, from.AddrPort())
		require.NoError(t, err)
		_, _ = c.Read(b)
		_, addr, err := c.ReadFrom(b)
		require.NoError(t, err)
		assert.Equal(t, s.LocalAddr(), addr)
		_, ap, err := c.ReadFromUDPAddrPort(b)
		require.NoError(t, err)
		assert.Equal(t, s.LocalAddr().String(), ap.String())
		_, err = c.Read(b)
		require.NoError(t, err)
		assert.Equal(t, byte('d'), b[0])
		_, err = c.WriteTo(b, s.LocalAddr())
		require.ErrorIs(t, err, net.ErrWriteToConnected)
		assert.EqualError(t, err, "write udp "+c.LocalAddr().String()+"->127.0.0.1:53: use of WriteTo with pre-connected connection")
		raw, err := s.SyscallConn()
		require.NoError(t, err)
		require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), errors.ErrUnsupported)
		require.NoError(t, raw.Control(func(uintptr) {}))
		require.NoError(t, s.Close())
		_, err = c.Write(b)
		require.NoError(t, err)
		_, err = c.Read(b)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.NoError(t, c.Close())
		ep := sockettest.Start(t, udp.Drop{})
		assert.NotEmpty(t, ep.Addr())
	})
}

func TestUnmodifiedSMTPAndRPC(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		ep := sockettest.Start(t, fixtures.Silent{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		context.AfterFunc(ctx, func() { _ = ep.Close() })
		begin := time.Now()
		err := smtp.SendMail(ep.Addr(), nil, "a@example.com", []string{"b@example.com"}, nil)
		require.ErrorIs(t, err, io.EOF)
		assert.Equal(t, time.Hour, time.Since(begin), "net/smtp has no limit of its own")

		l, err := net.Listen("tcp", "localhost:0")
		require.NoError(t, err)
		server := rpc.NewServer()
		require.NoError(t, server.RegisterName("Slow", slow{}))
		go func() {
			c, err := l.Accept()
			if assert.NoError(t, err) {
				server.ServeConn(c)
			}
		}()
		client, err := rpc.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		var reply time.Duration
		require.NoError(t, client.Call("Slow.Sleep", time.Minute, &reply))
		assert.Equal(t, time.Minute, reply)
		require.NoError(t, client.Close())
		require.NoError(t, l.Close())
	})
}

type slow struct{}

func (slow) Sleep(d time.Duration, took *time.Duration) error {
	begin := time.Now()
	time.Sleep(d)
	*took = time.Since(begin)
	return nil
}

// Each of a hundred bubbles at once has its network; what is outside has the kernel's meanwhile.
func TestUnmodifiedBubblesApart(t *testing.T) {
	t.Parallel()
	needsOverlay(t)
	ep := sockettest.Start(t, fixtures.Echo{})
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 100 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				nw := simnet.New(t)
				nw.Intercept(t)
				_, err := net.Dial("tcp", ep.Addr())
				assert.ErrorIs(t, err, syscall.ECONNREFUSED)
				l, err := net.Listen("tcp", "127.0.0.1:8080")
				require.NoError(t, err)
				defer l.Close()
				go func() {
					c, err := l.Accept()
					if assert.NoError(t, err) {
						_, _ = fmt.Fprintln(c, i)
						_ = c.Close()
					}
				}()
				c := dialTCP(t, "localhost:8080")
				line, err := bufio.NewReader(c).ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprintln(i), line)
				says := sockettest.Start(t, fixtures.HalfClose{Data: fmt.Sprint(i)}, sockettest.Address("127.0.0.1:8081"))
				said, err := io.ReadAll(dialTCP(t, says.Addr()))
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprint(i), string(said))
			})
		})
	}
	c := dialTCP(t, ep.Addr())
	file, err := c.File()
	require.NoError(t, err, "one of the kernel")
	require.NoError(t, file.Close())
}

func TestUnmodifiedInTheWholeProcess(t *testing.T) {
	needsOverlay(t)
	nw := simnet.New(t)
	t.Run("until its end", func(t *testing.T) {
		nw.Intercept(t)
		ep := sockettest.Start(t, fixtures.Echo{})
		assert.Equal(t, nw, ep.Stack())
		dialTCP(t, ep.Addr())
		said := ""
		simnet.New(t).Intercept(fatal{t, &said})
		assert.Equal(t, "simnet.Intercept: another network is in force outside of bubbles already; want one at a time", said)
		sockettest.Bubble(t, func(t *testing.T) {
			nw.Intercept(fatal{t, &said})
			assert.Equal(t, "simnet.Intercept: this network is in force outside of bubbles; want one for each bubble", said)
		})
	})
	assert.Equal(t, sockettest.Kernel, sockettest.Start(t, fixtures.Echo{}).Stack())
	nw.Intercept(t)
}

func TestUnmodifiedLeakIsFound(t *testing.T) {
	t.Parallel()
	unmodified(t, func(t *testing.T, _ *simnet.Network) {
		w := sockettest.WatchLeaks()
		defer w.Close()
		ep := sockettest.Start(t, fixtures.Echo{})
		c, err := net.Dial("tcp", ep.Addr())
		require.NoError(t, err)
		leaks := w.Find(time.Second)
		require.Len(t, leaks.Conns, 1)
		assert.Contains(t, leaks.Conns[0], "from "+c.LocalAddr().String())
	})
}
