package rawsock

import (
	"context"
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
		err = p.queue.awaitDue(func() (time.Duration, error) { return p.hold(gen) })
		if err == nil {
			var c network.Conn
			if c, err = p.take(); err == nil {
				return c, nil
			}
		}
		p.mu.Lock()
		same := p.gen == gen && !p.closed
		p.mu.Unlock()
		if same && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}

// take accepts one connection.
func (p *unixPort) take() (network.Conn, error) {
	p.taking.RLock()
	c, err := p.ln.AcceptUnix()
	p.taking.RUnlock()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.queue.taken()
	p.met++
	p.mu.Unlock()
	return &unixConn{c}, nil
}

// awaitListening waits for a state in which there may be something to accept, and clears the deadline with which the last
// change of state woke us.
func (p *unixPort) awaitListening() (gen int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (p.state.Answer != network.Listen || p.state.Hold == network.Forever) {
		p.changed.Wait()
	}
	if p.closed {
		return 0, p.ended("accept")
	}
	return p.gen, p.ln.SetDeadline(time.Time{})
}

// hold is how long connections wait in the accept queue, as long as the state is that of generation gen. The caller holds
// mu.
func (p *unixPort) hold(gen int) (time.Duration, error) {
	if p.gen != gen || p.closed {
		return 0, os.ErrDeadlineExceeded // Accept looks at the state again
	}
	return p.state.Hold, nil
}

func (p *unixPort) ended(op string) error {
	return &net.OpError{Op: op, Net: "unix", Addr: p.addr, Err: net.ErrClosed}
}

// Dropped is none: a connect that finds the queue full fails at once, with EAGAIN.
func (p *unixPort) Dropped() (int, time.Time, error) {
	return 0, time.Time{}, fmt.Errorf("linux: on a unix socket no connect is dropped: %w", errors.ErrUnsupported)
}

// AwaitDropped would wait forever.
func (p *unixPort) AwaitDropped(context.Context, int) (int, error) {
	n, _, err := p.Dropped()
	return n, err
}

// Clients is not available: a client of a unix socket has no address.
func (p *unixPort) Clients() ([]network.Client, error) {
	return nil, fmt.Errorf("linux: the clients of a unix socket are not shown: %w", errors.ErrUnsupported)
}

// Close ends the socket and removes its files.
func (p *unixPort) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.met += p.waiting()
	p.closed = true
	p.wake()
	p.mu.Unlock() // nothing touches the descriptors any more, and who waits in the poller wants mu
	var err error
	if p.ln != nil {
		err = p.ln.Close()
	} else {
		err = os.NewSyscallError("close", unix.Close(p.fd))
	}
	p.queue.close()
	return errors.Join(err, p.removeFiles())
}

// removeFiles removes what is ours, and the directory if nothing else is in it.
func (p *unixPort) removeFiles() error {
	var err error
	if p.here != nil && isFile(p.addr.Name, p.here) {
		err = os.Remove(p.addr.Name)
	}
	if p.live != "" {
		if rerr := os.Remove(p.live); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	p.removeDir()
	return err
}

func (p *unixPort) removeDir() {
	if p.dir != "" {
		_ = os.Remove(p.dir)
	}
}
