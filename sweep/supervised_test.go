package sweep

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A supervised client of echoLines has a goroutine that connects again and again, and reads.
type supervised struct {
	c    *Case
	bug  string
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	conn  net.Conn      // nil while there is none
	there chan struct{} // closed when there is one
	asked []chan string // in the order of the questions
}

func newSupervised(ctx context.Context, c *Case, bug string) *supervised {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &supervised{c: c, bug: bug, stop: stop, there: make(chan struct{})}
	s.wg.Go(func() {
		for ctx.Err() == nil {
			s.serve(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return s
}

// serve has one connection, from its connect to its end.
func (s *supervised) serve(ctx context.Context) {
	dial, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := s.c.DialContext(dial, "tcp", s.c.Addr())
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s.mu.Lock()
	s.conn = conn
	close(s.there)
	s.mu.Unlock()
	for b := make([]byte, 4); err == nil; {
		if _, err = io.ReadFull(conn, b); err == nil {
			s.answer(string(b))
		}
	}
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.there = nil, make(chan struct{})
	for _, a := range s.asked {
		close(a)
	}
	s.asked = nil
}

// answer gives an answer to who has waited the longest.
func (s *supervised) answer(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) > 0 {
		s.asked[0] <- text
		s.asked = s.asked[1:]
	}
}

// ask sends a question that is its own answer.
func (s *supervised) ask(ctx context.Context, question string) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	s.mu.Lock()
	there := s.there
	s.mu.Unlock()
	select {
	case <-there:
	case <-ctx.Done():
		return ctx.Err()
	}
	answer := make(chan string, 1)
	s.mu.Lock()
	conn := s.conn
	if conn == nil {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.asked = append(s.asked, answer)
	_, err := io.WriteString(conn, question) // it is short, and never blocks
	s.mu.Unlock()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	select {
	case got, ok := <-answer:
		if !ok {
			return io.ErrUnexpectedEOF
		}
		assert.Equal(s.c, question, got)
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.giveUp(conn, answer))
	}
}

// giveUp ends the connection, on which an answer is due that nobody waits for.
func (s *supervised) giveUp(conn net.Conn, answer chan string) error {
	if s.bug != "forgets who waited" {
		return conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range s.asked {
		if a == answer {
			s.asked = append(s.asked[:i:i], s.asked[i+1:]...)
			break
		}
	}
	return nil
}

func (s *supervised) Close() error {
	s.stop()
	s.wg.Wait()
	return nil
}

// A client whose goroutine connects in a loop, with two callers of one connection, is blamed for
// its bug alone.
func TestSupervisedClient(t *testing.T) {
	t.Parallel()
	sweepIt := func(bug, fault string) (string, bool) {
		cfg := rowsConfig(fault)
		cfg.Server, cfg.Once = func(ln net.Listener) error { return echoLines(ln) }, nil
		return sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
			s := newSupervised(ctx, c, bug)
			c.Closer(s.Close)
			errs := make(chan error, 2)
			for _, question := range []string{"one\n", "two\n"} {
				go func() { errs <- s.ask(ctx, question) }()
			}
			err := errors.Join(<-errs, <-errs)
			c.Recovers(func(ctx context.Context) error { return s.ask(ctx, "six\n") })
			return err
		})
	}
	text, bad := sweepIt("", "")
	assert.False(t, bad, text)
	assert.NotContains(t, text, "never came")
	text, bad = sweepIt("forgets who waited", "silence")
	assert.True(t, bad)
	assert.Regexp(t, `\n  wrong            answer .*, silence.*: Not equal: expected: "six\\n" actual : "(one|two)\\n"`, text)
	assert.Contains(t, text, "\n  ended    after 3s, with *errors.joinError: context deadline exceeded; context deadline exceeded\n")
}
