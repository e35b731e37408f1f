package dns_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// ShutdownContext waits for whoever never reads (see TestShutdownWaitsForWhoNeverReads), and the server has no Close: what
// closes the connections in the end is a listener that knows them.
func TestShutdown(t *testing.T) {
	t.Parallel()
	q, err := question().Pack()
	require.NoError(t, err)
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		sockettest.Shutdown(t, sockettest.Server{Limit: 10 * time.Second, Request: string(framed(q)), Serve: closing}, sockettest.On(simnet.New(t)))
	})
}

func closing(t testing.TB, ln net.Listener) func(context.Context) error {
	t.Helper()
	known := &knowing{Listener: ln}
	srv := talkative(known, time.Second)
	begun, ended := make(chan struct{}), make(chan error, 1)
	srv.NotifyStartedFunc = func() { close(begun) }
	go func() { ended <- srv.ActivateAndServe() }()
	<-begun
	return func(ctx context.Context) error {
		defer time.AfterFunc(time.Second, known.closeAll).Stop()
		if err := srv.ShutdownContext(ctx); err != nil {
			return err
		}
		known.closeAll()
		return <-ended
	}
}

// A knowing listener keeps its connections.
type knowing struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *knowing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *knowing) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}
