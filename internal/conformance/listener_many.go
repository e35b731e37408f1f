package conformance

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// slowLines: a deadline, and many at once.
var slowLines = []line{
	{"an expired deadline beats a connection that is queued, and keeps it", func(t *testing.T, l lab) {
		ln := l.listener(t)
		d, ok := ln.(deadliner)
		require.True(t, ok, "%T has no SetDeadline", ln)
		c := l.to(t, ln)
		require.NoError(t, d.SetDeadline(past))
		acceptError(t, ln, refusedTo(ln, "accept", os.ErrDeadlineExceeded))
		acceptError(t, ln, refusedTo(ln, "accept", os.ErrDeadlineExceeded))
		require.NoError(t, d.SetDeadline(time.Time{}))
		require.Equal(t, c.LocalAddr(), taken(t, ln).RemoteAddr())
		closes(t, ln)
		require.Equal(t, net.ErrClosed, d.SetDeadline(past), "as it is, in no net.OpError")
	}},
	{"a deadline ends an Accept that waits, never early, and the listener lives on", func(t *testing.T, l lab) {
		ln := l.listener(t)
		d := l.either(10*time.Millisecond, time.Hour)
		for range 3 {
			zero := time.Now()
			require.NoError(t, ln.(deadliner).SetDeadline(zero.Add(d)))
			acceptError(t, ln, refusedTo(ln, "accept", os.ErrDeadlineExceeded))
			l.after(t, zero, d)
		}
		require.NoError(t, ln.(deadliner).SetDeadline(time.Time{}))
		c := l.to(t, ln)
		require.Equal(t, c.LocalAddr(), taken(t, ln).RemoteAddr())
	}},
	{"a deadline that is moved into the past ends every Accept that waits", func(t *testing.T, l lab) {
		ln := l.listener(t)
		errs := make(chan error)
		for range 4 {
			go func() { _, err := ln.Accept(); errs <- err }()
		}
		l.rest()
		require.NoError(t, ln.(deadliner).SetDeadline(past))
		for range 4 {
			require.Equal(t, refusedTo(ln, "accept", os.ErrDeadlineExceeded), <-errs)
		}
	}},
	{"many dialers and many accepters: each connection is accepted once", func(t *testing.T, l lab) {
		manytests.NeedsQueue(t)
		const dialers, accepters = 50, 5
		ln := l.listener(t)
		seen := make(chan string, dialers)
		var all sync.WaitGroup
		for range accepters {
			all.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					seen <- c.RemoteAddr().String()
					_, _ = io.Copy(c, c)
					_ = c.Close()
				}
			})
		}
		want := map[string]bool{}
		var mu sync.Mutex
		var dials sync.WaitGroup
		for range dialers {
			dials.Go(func() {
				from := l.echo(t, ln)
				mu.Lock()
				defer mu.Unlock()
				want[from] = true
			})
		}
		dials.Wait()
		closes(t, ln)
		all.Wait()
		close(seen)
		got := map[string]bool{}
		for from := range seen {
			require.False(t, got[from], "accepted twice: %s", from)
			got[from] = true
		}
		require.Len(t, got, dialers)
		require.Equal(t, want, got)
	}},
	{"a Close beside dials: each is refused, reset or served, and never ENOTCONN", func(t *testing.T, l lab) {
		for range 5 {
			ln := l.listener(t)
			errs := make(chan error)
			for range 8 {
				go func() { errs <- l.hello(t, ln) }()
			}
			closes(t, ln)
			for range 8 {
				err := <-errs
				if err != nil && !refusedOrReset(err) {
					require.Fail(t, "neither refused nor reset", "%v", err)
				}
			}
		}
	}},
}

type deadliner interface{ SetDeadline(time.Time) error }

// echo has a listener's echo answer it, and returns the address that it did so from.
func (l lab) echo(t *testing.T, ln net.Listener) string {
	c, err := l.stack.Connect(t.Context(), "tcp", ln.Addr().String(), network.ConnectOptions{})
	if err != nil {
		t.Errorf("dial: %v", err)
		return ""
	}
	defer func() { _ = c.Reset() }()
	from := c.LocalAddr().String()
	if _, err := io.WriteString(c, from); err != nil {
		t.Errorf("write: %v", err)
	}
	b := make([]byte, len(from))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != from {
		t.Errorf("read %q: %v; want %q", b, err, from)
	}
	return from
}

// hello connects and writes.
func (l lab) hello(t *testing.T, ln net.Listener) error {
	c, err := l.stack.Connect(t.Context(), "tcp", ln.Addr().String(), network.ConnectOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Reset() }()
	_, err = io.WriteString(c, "hello")
	return err
}

func refusedOrReset(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && (e == syscall.ECONNREFUSED || e == syscall.ECONNRESET || e == syscall.EPIPE)
}
