package sweep

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A reader of serveRows' answers has a goroutine that reads, and may be closed at any time.
type reader struct {
	bug     string
	conn    net.Conn
	answers chan struct{}
	over    chan struct{}
	err     error // once over is closed
	asks    atomic.Bool
	closes  atomic.Int32
}

// newReader connects, and greets.
func newReader(ctx context.Context, c *Case, bug string) (*reader, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	conn, err := c.DialContext(ctx, "tcp", c.Addr())
	if err != nil {
		return nil, err
	}
	r := &reader{bug: bug, conn: conn, answers: make(chan struct{}, 1), over: make(chan struct{})}
	_ = conn.SetDeadline(time.Now().Add(clientTimeout))
	go r.read(conn)
	if err := r.ask("HI"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return r, nil
}

func (r *reader) read(conn net.Conn) {
	for b := make([]byte, 4); ; r.answers <- struct{}{} {
		_, r.err = io.ReadFull(conn, b)
		if errors.Is(r.err, net.ErrClosed) && r.bug == "waits for an answer after Close" {
			return
		}
		if r.err != nil {
			close(r.over)
			return
		}
	}
}

func (r *reader) ask(line string) error {
	r.asks.Store(true)
	defer r.asks.Store(false)
	if _, err := io.WriteString(r.conn, line+"\n"); err != nil {
		return err
	}
	select {
	case <-r.answers:
		return nil
	case <-r.over:
		return r.err
	}
}

func (r *reader) Close() error {
	if r.bug == "waits for the caller" && r.asks.Load() {
		time.Sleep(time.Minute) // rules:allow it is in a bubble
	}
	if r.closes.Add(1) == 2 && r.bug == "panics in the second Close" {
		panic("closed twice")
	}
	return r.conn.Close()
}

// The fault close finds what no fault of the network does. It is not tried before there is a
// client, nor when it closes.
func TestCloseDuringTheOperation(t *testing.T) {
	t.Parallel()
	const request, answer = `request bytes 4-11 of 11 ("DD\nADD\n"), close: `, `answer bytes 5-12 of 12 ("\x02okO\x02ok"), close: `
	for _, tt := range []struct{ bug, kind, want string }{
		{"waits for an answer after Close", "hangs   ", "the operation had not returned after 55s, not even when its context was cancelled"},
		{"panics in the second Close", "panics  ", "Close panicked: closed twice"},
		{"waits for the caller", "hangs   ", "Close, called during the operation, had not returned after 20."},
		{"", "", ""},
	} {
		text, bad := sweepOver(t, Config{Server: serveRows, Limit: 11 * time.Second}, func(ctx context.Context, c *Case) error {
			r, err := newReader(ctx, c, tt.bug)
			if err != nil {
				return err
			}
			c.Closer(r.Close)
			err = errors.Join(r.ask("ADD"), r.ask("ADD"))
			c.Recovers(func(context.Context) error {
				assert.False(c, strings.HasSuffix(c.Name(), "/close"), "Recovers of a client that is closed")
				return nil
			})
			return err
		})
		if assert.Equal(t, tt.want != "", bad, text) && bad {
			assert.Contains(t, text, "\n  "+tt.kind+"         "+request+tt.want)
			assert.Contains(t, text, "\n  "+tt.kind+"         "+answer+tt.want)
			assert.Equal(t, 2, strings.Count(text, "\n  "+tt.kind+" "), text)
		}
	}
}
