package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// Accept waits for the next connection; see [network.Port].
func (p *unixPort) Accept() (network.Conn, error) {
	for {
		gen, err := p.awaitListening()
		if err != nil {
			return nil, err
		}
		p.taking.RLock()
		c, err := p.ln.AcceptUnix()
		p.taking.RUnlock()
		if err == nil {
			return &unixConn{c}, nil
		}
		p.mu.Lock()
		same := p.gen == gen && !p.closed
		p.mu.Unlock()
		if same && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

func (p *unixPort) awaitListening() (gen int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (p.state.Answer != network.Listen || p.state.Hold > 0) {
		p.changed.Wait()
	}
	if p.closed {
		return 0, &net.OpError{Op: "accept", Net: "unix", Addr: p.addr, Err: net.ErrClosed}
	}
	return p.gen, p.ln.SetDeadline(time.Time{})
}

// Dropped is none: a connect that finds the queue full fails at once, with EAGAIN.
func (p *unixPort) Dropped() (int, error) {
	return 0, fmt.Errorf("linux: on a unix socket no connect is dropped: %w", errors.ErrUnsupported)
}

// Close ends the socket and removes its files.
func (p *unixPort) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.wake()
	var err error
	if p.ln != nil {
		err = p.ln.Close()
	} else {
		err = os.NewSyscallError("close", unix.Close(p.fd))
	}
	for _, name := range []string{p.addr.Name, p.live} {
		if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	p.removeDir()
	return err
}

func (p *unixPort) removeDir() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}
