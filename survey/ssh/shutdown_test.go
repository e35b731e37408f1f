package ssh_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

// The package has no server of its own: one that closes its connections ends with every client, whatever step of the
// handshake it is in.
func TestShutdown(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		sockettest.NoLeaks(t)
		sockettest.Shutdown(t, sockettest.Server{Limit: 10 * time.Second, Request: version, Serve: closing}, sockettest.On(nw))
	})
}

// closing is a server that keeps its connections, to close them.
func closing(t testing.TB, ln net.Listener) func(context.Context) error {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { handshake(c, 0) })
		}
	})
	return func(context.Context) error {
		err := ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
		return err
	}
}
