package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// delay is what the rows' slow fixtures take: short, and still longer than what is not slow.
const delay = 60 * time.Millisecond

// moment is how long a connect is watched that is to hang.
const moment = 20 * time.Millisecond

// quiet is how long nothing must happen before it is believed that nothing will: virtual time costs
// nothing.
func quiet(s network.Stack) time.Duration {
	if _, simulated := s.(*simnet.Network); simulated {
		return time.Hour
	}
	return moment
}

// A conn is a client's connection that the context bounds.
type conn struct {
	net.Conn
	ctx   context.Context
	quiet time.Duration
}

// bounded has the context's deadline end what happens on c.
func bounded(ctx context.Context, c net.Conn, s network.Stack) conn {
	b := conn{c, ctx, quiet(s)}
	b.restore()
	return b
}

// restore takes back a deadline that was only for a look.
func (c conn) restore() {
	end, _ := c.ctx.Deadline()
	_ = c.SetDeadline(end)
}

func connect(ctx context.Context, ep *fixtures.Endpoint) (conn, error) {
	c, err := ep.DialContext(ctx, "", "")
	if err != nil {
		return conn{}, fmt.Errorf("a connect failed: %w", err)
	}
	return bounded(ctx, c, ep.Stack()), nil
}

// abort closes, TCP with RST: no TIME_WAIT is left behind.
func (c conn) abort() {
	if tcp, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// closeWrite sends FIN, or what unix sockets have instead.
func (c conn) closeWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// say sends a text.
func (c conn) say(text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return fmt.Errorf("writing %q: %w", text, err)
	}
	return nil
}

// silent is an error if anything can be read within a moment.
func (c conn) silent() error {
	_ = c.SetReadDeadline(time.Now().Add(c.quiet))
	n, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a read should have waited, and returned %d, %w", n, orNil(err))
	}
	c.restore()
	return nil
}

// expect reads as many bytes as it wants.
func (c conn) expect(want string) error {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading %q, got %q: %w", want, got[:n], err)
	}
	if string(got) != want {
		return fmt.Errorf("read %q, want %q", got, want)
	}
	return nil
}

// ends reads to the end, which must be FIN.
func (c conn) ends(want string) error {
	got, err := io.ReadAll(c)
	if err != nil || string(got) != want {
		return fmt.Errorf("read %q and then %w, want %q and FIN", got, orNil(err), want)
	}
	return nil
}

// isReset reads to the end, which must be RST: what was written before may still come first.
func (c conn) isReset() error {
	if _, err := io.ReadAll(c); faultOf(err) != rawsock.ResetByPeer {
		return fmt.Errorf("a read should have been reset, and returned %w", orNil(err))
	}
	return nil
}

// plenty is more than a connection with a small window takes.
var plenty [1 << 20]byte

// blocks writes more than is taken: how much that is the client's kernel decides, but a small
// window keeps it far below what buffers hold without one.
func (c conn) blocks() (string, error) {
	_ = c.SetWriteDeadline(time.Now().Add(4 * c.quiet))
	n, err := c.Write(plenty[:])
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return "", fmt.Errorf("a write was to block, and wrote %d B, %w", n, orNil(err))
	}
	return fmt.Sprintf("writes block after %d B", n), nil
}

var errNone = errors.New("no error")

func orNil(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// faultOf is what the errno in an error means.
func faultOf(err error) rawsock.Fault {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return rawsock.FaultOf(errno)
	}
	return rawsock.UnknownFault
}

// took checks that something was not early, and says how late it was.
func took(what string, begin time.Time, want time.Duration) (string, error) {
	took := time.Since(begin)
	if took < want {
		return "", fmt.Errorf("%s took %v, want %v or more", what, took, want)
	}
	return fmt.Sprintf("%v asked for, and it took %v", want, took.Round(100*time.Microsecond)), nil
}
