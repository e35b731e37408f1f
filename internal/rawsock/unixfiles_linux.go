package rawsock

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// refuse puts a stale file, whose socket is gone, at the path: ECONNREFUSED. A socket that has
// never listened needs none.
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

// place moves a file of ours to the path, in place of the one of ours that is there now.
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

// stash gives the socket's own file a second name, from which it comes back.
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

// staleFile makes a stale file beside the path.
func (p *unixPort) staleFile() (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	stale := p.beside("stale")
	if len(stale) < len(unix.RawSockaddrUnix{}.Path) {
		return stale, bindFile(fd, stale)
	}
	return stale, bindLong(fd, stale)
}

// bindLong binds by a short name of the directory, since a path that does not fit in a socket's
// address can only be bound so.
func bindLong(fd int, path string) error {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return unsupported("a path of more than 107 bytes cannot be bound without /proc", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return bindFile(fd, fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path)))
}

func bindFile(fd int, path string) error {
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
}

// beside returns a fresh name in the path's directory.
func (p *unixPort) beside(what string) string {
	return filepath.Join(filepath.Dir(p.addr.Name), fmt.Sprintf(".%s-%08x", what, rand.Uint32()))
}

func (p *unixPort) explainTaken(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is somebody else's now; remove it first: %w", p.addr.Name, err)
	}
	return err
}

// isStale reports whether the file at path is a socket that nobody listens on. Servers remove
// such files when they come up.
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

// isFile reports whether that very file is at path. Its time counts too, since inode numbers are
// used again.
func isFile(path string, file os.FileInfo) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(there, file) && there.ModTime().Equal(file.ModTime())
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
