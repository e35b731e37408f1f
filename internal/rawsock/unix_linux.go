package rawsock

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// longestPath is what sun_path holds beside its final zero (unix(7)).
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// A unixPort is one socket for its whole life. What a connect meets is decided by the file at the path: the socket's own,
// a stale one, or none. Each change is one rename(2), so there is no instant without the old answer or the new. What
// others have put at the path, such as a server of theirs while there was none of ours, is neither replaced nor removed.
type unixPort struct {
	addr *net.UnixAddr
	dir  string      // to be removed with Close, if it is ours
	here os.FileInfo // our file at the path; nil if there is none
	live string      // where the socket's own file is while it is not at the path; empty while it is

	mu      sync.Mutex
	changed *sync.Cond
	taking  sync.RWMutex      // held for reading in accept(2)
	fd      int               // the bound socket, until it is ln
	ln      *net.UnixListener // the same socket, from when it first listened
	queue   queue             // who waits in the accept queue; only for Hold
	state   network.State
	met     int // connections that are no longer in the accept queue
	gen     int
	closed  bool
}

func bindUnix(path string) (network.Port, error) {
	p := &unixPort{fd: -1}
	p.changed = sync.NewCond(&p.mu)
	p.queue = queue{mu: &p.mu, length: queuedUnix, listener: func() (*os.File, error) { return p.ln.File() }}
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
		return fmt.Errorf("bind unix %s: %w", path, err)
	}
	p.fd = fd
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

// checkUnix: a connect on a unix socket is answered at once, in the dialer's own call.
func checkUnix(s network.State) error {
	if err := check(s); err != nil {
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

// canHold asks who waits in the accept queue, which has to be asked again when somebody comes. Forever asks nothing. The
// caller holds mu.
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
		if err := p.poll(); err != nil {
			return err
		}
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

// poll hands the socket over to package net.
func (p *unixPort) poll() error {
	ln, err := handOver(p.fd, p.addr.Name)
	if err != nil {
		return err
	}
	p.fd, p.ln = -1, ln.(*net.UnixListener)
	p.ln.SetUnlinkOnClose(false)
	return nil
}

// refuse puts a stale file at the path, whose socket is gone: ECONNREFUSED. A socket that has never listened is as good.
func (p *unixPort) refuse() error {
	if p.ln == nil && p.live == "" {
		return nil
	}
	stale, err := p.staleFile()
	if err != nil {
		return err
	}
	err = p.stash()
	if err == nil {
		err = p.place(stale)
	}
	if err != nil {
		_ = os.Remove(stale)
		return err
	}
	p.abortQueued()
	return nil
}

// place gives a file of ours the path, instead of the one of ours that is there now.
func (p *unixPort) place(file string) error {
	path := p.addr.Name
	if p.here == nil {
		err := os.Link(file, path) // which replaces nothing
		if err == nil {
			_ = os.Remove(file)
			p.here, err = os.Lstat(path)
			return err
		}
		if !isStale(path) {
			return p.explainTaken(err)
		}
	} else if !isFile(path, p.here) {
		return p.explainTaken(fs.ErrExist)
	}
	err := os.Rename(file, path)
	if err == nil {
		p.here, err = os.Lstat(path)
	}
	return err
}

// isStale reports whether at path there is a socket that nobody listens on. Servers that come up remove those.
func isStale(path string) bool {
	there, err := os.Lstat(path)
	if err != nil || there.Mode().Type() != fs.ModeSocket {
		return false
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == unix.ECONNREFUSED
}

func (p *unixPort) explainTaken(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is somebody else's now; remove it first: %w", p.addr.Name, err)
	}
	return err
}

// isFile reports whether that very file is at path. Its time counts too, since the number of a file that is gone is used
// again.
func isFile(path string, file os.FileInfo) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(there, file) && there.ModTime().Equal(file.ModTime())
}

// staleFile makes one beside the path. It is bound by a short name of the directory, so that it fits whatever the path.
func (p *unixPort) staleFile() (string, error) {
	dir := filepath.Dir(p.addr.Name)
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	stale := p.beside("stale")
	short := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(stale))
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: short}); err != nil {
		return "", os.NewSyscallError("bind", err)
	}
	return stale, nil
}

// stash gives the socket's own file a second name, under which it comes back.
func (p *unixPort) stash() error {
	if p.live != "" {
		return nil
	}
	if !isFile(p.addr.Name, p.here) {
		return p.explainTaken(fs.ErrExist)
	}
	live := p.beside("live")
	if err := os.Link(p.addr.Name, live); err != nil {
		return err
	}
	p.live = live
	return nil
}

// beside is a fresh name in the path's directory.
func (p *unixPort) beside(what string) string {
	return filepath.Join(filepath.Dir(p.addr.Name), fmt.Sprintf(".%s-%08x", what, rand.Uint32()))
}

// remove leaves no file at the path.
func (p *unixPort) remove() error {
	if p.here == nil {
		return nil
	}
	if err := p.stash(); err != nil {
		return err
	}
	if !isFile(p.addr.Name, p.here) {
		return p.explainTaken(fs.ErrExist)
	}
	if err := os.Remove(p.addr.Name); err != nil {
		return err
	}
	p.here = nil
	p.abortQueued()
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
			p.met++
			_ = unix.Close(nfd)
		}
	})
}

func (p *unixPort) control(f func(fd int) error) error {
	if p.ln != nil {
		return control(p.ln, f)
	}
	return f(p.fd)
}

// wake makes every Accept look at the state again. The caller holds mu.
func (p *unixPort) wake() {
	if p.ln != nil {
		_ = p.ln.SetDeadline(time.Unix(1, 0))
	}
	p.queue.wake()
	p.changed.Broadcast()
}
