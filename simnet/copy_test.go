package simnet_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/simnet"
)

// tcpConn is what *net.TCPConn and *simnet.Conn both are.
type tcpConn interface {
	net.Conn
	io.ReaderFrom
	io.WriterTo
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

var _, _ tcpConn = (*net.TCPConn)(nil), (*simnet.Conn)(nil)

// tcpPair is a connection's two ends.
func (b bench) tcpPair() (c, s tcpConn) {
	ln := must(b.listen("tcp4", "127.0.0.1:0"))
	c = must(b.dial("tcp4", ln.Addr().String())).(tcpConn)
	s = must(ln.Accept()).(tcpConn)
	b.t.Cleanup(func() { _, _ = s.SetLinger(0), s.Close() })
	return c, s
}

// reset returns an end that was reset by the other.
func (b bench) reset() tcpConn {
	c, s := b.tcpPair()
	_, _ = s.SetLinger(0), s.Close()
	b.awaitReset(c)
	return c
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A source is long, and has no method but Read.
func source(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestCopy(t *testing.T) {
	t.Parallel()
	eachRow(t, []row{
		{"from a reader", func(b bench) {
			c, s := b.tcpPair()
			b.say(io.Copy(c, strings.NewReader("hello")))
			b.say(io.Copy(c, struct{ io.Reader }{strings.NewReader("hello")}))
			b.say(io.Copy(c, failing{io.EOF}))
			b.say(io.Copy(c, failing{errors.New("own")}))
			b.say(c.ReadFrom(failing{errors.New("own")}))
			_ = c.CloseWrite()
			b.say(io.Copy(c, source(9)))
			got, err := io.ReadAll(s)
			b.say(string(got), err)
			_ = c.Close()
			b.say(io.Copy(c, source(9)))
			b.say(c.ReadFrom(source(9)))
			b.say(c.ReadFrom(failing{io.EOF}))
			c = b.reset()
			b.say(io.Copy(c, source(9)))
			b.say(io.Copy(c, source(9)))
			c, _ = b.tcpPair()
			_ = c.SetDeadline(time.Unix(1, 0))
			b.say(io.Copy(c, source(9)))
		}},
		{"to a writer", func(b bench) {
			c, s := b.tcpPair()
			b.say(io.WriteString(s, "hello"))
			_ = s.CloseWrite()
			var sb strings.Builder
			b.say(io.Copy(&sb, c))
			b.say(sb.String())
			b.say(io.Copy(&sb, c))
			b.say(io.WriteString(c, "hello"))
			b.say(io.Copy(failing{errors.New("own")}, s))
			_ = s.SetDeadline(time.Unix(1, 0))
			b.say(io.Copy(io.Discard, s))
			b.say(s.WriteTo(io.Discard))
			_ = s.Close()
			b.say(io.Copy(io.Discard, s))
			b.say(s.WriteTo(io.Discard))
			c = b.reset()
			b.say(io.Copy(io.Discard, c))
			b.say(io.Copy(io.Discard, c))
		}},
		{"from one connection to another", func(b bench) {
			for _, limit := range []int64{0, 9} {
				from := func(c tcpConn) io.Reader {
					if limit > 0 {
						return io.LimitReader(c, limit)
					}
					return c
				}
				c, s := b.tcpPair()
				b.say(io.WriteString(s, "hello"))
				_ = s.Close()
				d, e := b.tcpPair()
				b.say(io.Copy(d, from(c)))
				_ = d.CloseWrite()
				got, err := io.ReadAll(e)
				b.say(string(got), err)
				d, _ = b.tcpPair()
				b.say(io.Copy(d, from(b.reset())))
				c, s = b.tcpPair()
				_ = c.SetDeadline(time.Unix(1, 0))
				b.say(io.Copy(d, from(c)))
				_ = c.Close()
				b.say(io.Copy(d, from(c)))
				b.say(io.WriteString(s, "hello"))
				c, s = b.tcpPair()
				b.say(io.WriteString(s, "hello"))
				b.say(io.Copy(b.reset(), from(c)))
				b.say(io.WriteString(s, "hello"))
				_ = d.Close()
				b.say(io.Copy(d, from(c)))
			}
		}},
	})
}
