package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// longestPath is how long a path in sun_path can be, before its final zero (unix(7)).
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// A unixPort is one socket for its whole life. The file at the path decides what a connect
// meets: the socket's own file, a stale one, or none. Each change is one rename(2), so at every
// instant there is either the old answer or the new one. What others have put at the path
// meanwhile, such as a server of theirs, is neither replaced nor removed.
type unixPort struct {
	noRefusals
	addr *net.UnixAddr
	dir  string      // to be removed with Close, if it is ours
	here os.FileInfo // our file at the path; nil if there is none
	live string      // where the socket's own file is while it is not at the path; empty while it is

	acceptor
}

func bindUnix(path string) (network.Port, error) {
	p := &unixPort{}
	if path == "" {
		dir, err := os.MkdirTemp("", "sockettest-")
		if err != nil {
			return nil, fmt.Errorf("bind unix: %w", err)
		}
		p.dir, path = dir, filepath.Join(dir, "s")
	}
	p.addr = &net.UnixAddr{Name: path, Net: "unix"}
	if err := p.bind(path); err != nil {
		p.removeDir()
		return nil, err
	}
	return p, nil
}

func (p *unixPort) bind(path string) error {
	switch {
	case len(path) > longestPath:
		return fmt.Errorf("path is %q, %d bytes; want at most %d, which is what a unix socket's address holds", path, len(path), longestPath)
	case strings.Contains(path, "\x00"):
		return fmt.Errorf("path is %q, with a NUL byte; want none, since a path ends there", path)
	case path[0] == '@':
		return fmt.Errorf("path is %q, which is in the abstract namespace; want a path in the file system", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return outOfDescriptors(os.NewSyscallError("socket", err))
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("%s is there already; remove it, choose another path, or none for a fresh one: %w", path, err)
		}
		return fmt.Errorf("bind unix %s: %w; want a path in a directory that is there and that you may write to", path, err)
	}
	p.init(fd, queuedUnix)
	if p.here, err = os.Lstat(path); err != nil {
		_ = unix.Close(fd)
		return err
	}
	return nil
}

// Addr returns the path.
func (p *unixPort) Addr() net.Addr { return p.addr }

// Become changes the answer; see [network.Port].
func (p *unixPort) Become(s network.State) error {
	if err := checkUnix(s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.ended("become")
	}
	if err := p.canHold(s.Hold); err != nil {
		return err
	}
	p.gen++
	p.wake()
	p.taking.Lock() // none is inside accept(2) now, and none can get there before its deadline is cleared
	defer p.taking.Unlock()
	err := p.answer(s)
	if err == nil {
		p.state = s
	}
	return err
}

// checkUnix is check for unix sockets, where a connect is answered at once, in the dialer's own
// call.
func checkUnix(s network.State) error {
	if err := s.Check("unix"); err != nil {
		return err
	}
	var what string
	switch {
	case s.Answer == network.Drop, s.Handshake > 0:
		what = "leave a connect unanswered"
	case s.Cut:
		what = "partition connections"
	case s.SmallWindow:
		what = "make a small receive window"
	default:
		return nil
	}
	return fmt.Errorf("linux: cannot %s on a unix socket: %w", what, errors.ErrUnsupported)
}

// canHold returns an error if connections cannot be held, which it finds out by asking how many
// wait in the accept queue. Forever needs no such question. The caller holds mu.
func (p *unixPort) canHold(d time.Duration) error {
	if d == 0 || d == network.Forever {
		return nil
	}
	err := p.control(func(fd int) error { _, err := queuedUnix(fd); return err })
	if err == nil || noDescriptors(err) {
		return err
	}
	return unsupported(fmt.Sprintf("cannot hold a connection for %v on a unix socket, whose accept queue is not shown", d), err)
}

func (p *unixPort) answer(s network.State) error {
	switch s.Answer {
	case network.Listen:
		return p.listen(s.Backlog)
	case network.Absent:
		return p.remove()
	}
	return p.refuse()
}

// listen brings the socket's own file back to the path.
func (p *unixPort) listen(limit int) error {
	ask, err := admits(limit) // as on TCP, one more is admitted than listen(2) is told
	if err != nil {
		return err
	}
	if p.ln == nil {
		if err := p.poll(p.addr.Name); err != nil {
			return err
		}
		p.ln.(*net.UnixListener).SetUnlinkOnClose(false)
	}
	if err := p.control(func(fd int) error { return listen(fd, ask) }); err != nil {
		return err
	}
	if p.live == "" {
		return nil
	}
	if err := p.place(p.live); err != nil {
		return err
	}
	p.live = ""
	return nil
}

// abortQueued closes what nobody has accepted, as a kernel does when a listener closes.
func (p *unixPort) abortQueued() {
	if p.ln == nil {
		return
	}
	_ = p.control(func(fd int) error {
		for {
			nfd, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				p.queue.arrivals = nil
				return nil
			}
			p.met.Add(1)
			_ = unix.Close(nfd)
		}
	})
}

// Accept waits for the next connection; see [network.Port].
func (p *unixPort) Accept() (network.Conn, error) { return p.accept(p.awaitListening, wrapUnix) }

func wrapUnix(c net.Conn) (network.Conn, error) { return &unixConn{UnixConn: c.(*net.UnixConn)}, nil }

// awaitListening waits for a state in which there may be something to accept, and clears the
// deadline with which the last change of state woke us.
func (p *unixPort) awaitListening() (gen int, _ network.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (p.state.Answer != network.Listen || p.state.Hold == network.Forever) {
		p.changed.Wait()
	}
	if p.closed {
		return 0, nil, p.ended("accept")
	}
	return p.gen, nil, p.ln.SetDeadline(time.Time{})
}

// Close ends the socket and removes its files.
func (p *unixPort) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.met.Add(int64(p.waiting(queuedUnix)))
	p.closed = true
	p.wake()
	p.mu.Unlock()
	return errors.Join(p.release(), p.removeFiles())
}

func (p *unixPort) ended(op string) error {
	return &net.OpError{Op: op, Net: "unix", Addr: p.addr, Err: net.ErrClosed}
}

// Visits counts the connections that were made. A connect that fails leaves no trace: neither at a
// path where nobody listens, nor at a full accept queue.
func (p *unixPort) Visits() network.Visits {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, room := p.waiting(queuedUnix), p.state.Backlog
	v := network.Visits{Count: int(p.met.Load()) + n, Complete: p.state.Answer == network.Listen && (room == 0 || n < room)}
	if n > 0 {
		v.Open = p.waiting(heldUnix)
	}
	return v
}

// waiting is how many connections are in the accept queue by a count, if the kernel shows it. The
// caller holds mu.
func (p *unixPort) waiting(count func(fd int) (int, error)) int {
	n := 0
	if !p.closed && p.ln != nil {
		_ = p.control(func(fd int) (err error) { n, err = count(fd); return err })
	}
	return n
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

// Mechanism names what makes the path answer as it does now, for reports about a platform.
func (p *unixPort) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := p.state; {
	case s.Answer == network.Absent:
		return "no file"
	case s.Answer != network.Listen:
		return "a file that no socket listens at"
	case s.Backlog > 0:
		return fmt.Sprintf("listen(fd, %d)%s", s.Backlog-1, held(s))
	default:
		return "listening" + held(s)
	}
}

func unixPeer(c *net.UnixConn) (network.PeerState, error) { return askPeer(c, polled) }

func awaitUnixPeerEnd(c *net.UnixConn) (network.PeerState, error) { return awaitEnd(c, polled) }

// polled asks poll(2), which looks at the other end's shutdown (net/unix/af_unix.c, unix_poll).
func polled(fd int) (network.PeerState, error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err != nil && err != unix.EINTR {
		return network.PeerUnknown, os.NewSyscallError("poll", err)
	}
	switch {
	case poll[0].Revents&unix.POLLERR != 0:
		return network.PeerRST, nil // it closed with bytes of ours unread
	case poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0:
		return network.PeerFIN, nil
	}
	return network.PeerOpen, nil
}

func unixInfo(c *net.UnixConn) (network.ConnInfo, error) {
	info := network.ConnInfo{Own: network.SocketInfo{State: unixState}}
	var own unixSocket
	var shown error
	err := control(c, func(fd int) (err error) {
		if info.Own.Unread, err = unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil {
			info.Own.Unacked, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		}
		own, shown = diagUnixFD(fd, 0)
		return os.NewSyscallError("ioctl", err)
	})
	switch {
	case err != nil:
		return network.ConnInfo{}, err
	case shown != nil:
		return info, unsupported("the other end of a unix connection is not shown", shown)
	case own.peer == 0:
		return info, nil
	}
	if other, err := diagUnix(own.peer, 0); err == nil { // else it was closed just now
		info.Other = &network.SocketInfo{State: unixState, Inode: own.peer, Unread: other.read, Unacked: other.wrote}
	}
	return info, nil
}

// unixUnread returns how many bytes have come and wait to be read.
func unixUnread(c *net.UnixConn) (n int, err error) {
	err = control(c, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
	return n, err
}

// unixUnacked returns how many bytes the other end has not read, with what each costs the
// kernel.
func unixUnacked(c *net.UnixConn) (n int, err error) {
	err = control(c, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ); return err })
	return n, err
}

// unixState is what TCP calls the one state that an end of a unix connection has.
const unixState = "ESTABLISHED"
