// Package quic_test holds quic-go to its timeouts, QUIC and HTTP/3, with a server of its own behind package udp's fixtures: on
// the kernel's loopback and, in virtual time, on a simulated network. quic-go takes a net.PacketConn, and nothing of it is
// changed.
package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func TestMain(m *testing.M) { sockettest.Main(m) }

// protocol is what client and server agree on by TLS.
const protocol = "echo"

// A server answers each stream with what came, after the pause that it names if it is a duration.
type server struct {
	addr      string
	conns     chan *quic.Conn // in the order in which they came
	transport *quic.Transport
	close     func() // ends it without a word to its clients
}

// serve runs a server until the test ends, on an address of nw: "" for any.
func serve(t testing.TB, nw network.Stack, addr string, conf *quic.Config, key *quic.StatelessResetKey) *server {
	t.Helper()
	p := listen(t, nw, addr)
	s := &server{addr: p.LocalAddr().String(), conns: make(chan *quic.Conn, 10), transport: &quic.Transport{Conn: p, StatelessResetKey: key}}
	config := tlsfault.ServerConfig()
	config.NextProtos = []string{protocol}
	ln, err := s.transport.Listen(config, conf)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	s.close = sync.OnceFunc(func() {
		_ = p.Close()
		cancel()
		_ = s.transport.Close()
		running.Wait()
	})
	t.Cleanup(s.close)
	running.Go(func() {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			s.conns <- c
			running.Go(func() {
				for {
					stream, err := c.AcceptStream(ctx)
					if err != nil {
						return
					}
					running.Go(func() { answer(ctx, stream) })
				}
			})
		}
	})
	return s
}

func answer(ctx context.Context, stream *quic.Stream) {
	question, err := io.ReadAll(stream)
	if err != nil {
		return
	}
	if pause, err := time.ParseDuration(string(question)); err == nil {
		ctx, cancel := context.WithTimeout(ctx, pause)
		<-ctx.Done()
		cancel()
	}
	_, _ = stream.Write(question)
	_ = stream.Close()
}

func listen(t testing.TB, nw network.Stack, addr string) net.PacketConn {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	p, err := nw.ListenPacket(t.Context(), "udp4", addr)
	require.NoError(t, err)
	return p
}

// A client has one socket for all that it dials.
type client struct{ transport *quic.Transport }

// on makes a client on nw that is closed when the test ends.
func on(t testing.TB, nw network.Stack) client {
	t.Helper()
	c := client{&quic.Transport{Conn: listen(t, nw, "")}}
	t.Cleanup(func() {
		assert.NoError(t, c.transport.Close())
		assert.NoError(t, c.transport.Conn.Close())
	})
	return c
}

func (c client) dial(ctx context.Context, addr string, conf *quic.Config) (*quic.Conn, error) {
	config := tlsfault.ClientConfig()
	config.NextProtos = []string{protocol}
	return c.dialTLS(ctx, addr, config, conf)
}

// dialTLS fits http3.Transport.
func (c client) dialTLS(ctx context.Context, addr string, config *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	to, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		return nil, err
	}
	config.ServerName = to.IP.String()
	return c.transport.Dial(ctx, to, config, conf)
}

// connect is dial for what comes before the call under test.
func (c client) connect(t testing.TB, addr string, conf *quic.Config) *quic.Conn {
	t.Helper()
	conn, err := c.dial(t.Context(), addr, conf)
	require.NoError(t, err)
	require.NoError(t, ask(t.Context(), conn, "hello"))
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

var errAnswer = errors.New("the answer is not what was asked")

// ask sends a question on a stream of its own, and reads the answer.
func ask(ctx context.Context, c *quic.Conn, question string) error {
	stream, err := c.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(stream, question); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	answer, err := io.ReadAll(stream)
	if err == nil && string(answer) != question {
		err = errAnswer
	}
	return err
}
