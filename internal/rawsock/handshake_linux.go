package rawsock

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// synPoll is how often a slow handshake looks for SYNs; one look costs under a microsecond.
const synPoll = time.Millisecond

// A handshake is the goroutine that completes connects some time after their first SYN.
//
// Where it can, it does so exactly. It looks up whose SYN was dropped and, when that client is
// due, connects to it from the port itself, which TCP calls simultaneous open (RFC 9293, section
// 3.5). Where it cannot, it waits for the first SYN, then for the delay, and lets the port
// listen: the client's next retransmission connects.
type handshake struct {
	port  *port
	delay time.Duration
	small bool // SmallWindow
	seen  int  // SYNs dropped when it last looked
	quit  chan struct{}
	done  sync.WaitGroup

	diag  *sockDiag       // kept, so that it is there when descriptors are not; nil: on the grid
	known map[uint64]bool // the clients that hang, by inode
	due   []*hung
}

// A hung client is one whose connect is completed later, at the time at.
type hung struct {
	client diagSocket
	at     time.Time
	fd     int // of the connection, from when there is one; else -1
}

// delay drops SYNs from now on, and completes each connect when it has hung for s.Handshake.
func (p *port) delay(fd int, s network.State) error {
	h := &handshake{port: p, delay: s.Handshake, small: s.SmallWindow, quit: make(chan struct{})}
	// A connection that was opened so is in no kernel's queue, which is what Hold and Backlog are
	// about.
	if s.Hold == 0 && s.Backlog == 0 && canOpen(p.v6) {
		var err error
		if h.diag, err = openSockDiag(); err != nil {
			return outOfDescriptors(err)
		}
	}
	err := p.drop(fd)
	if err == nil {
		h.seen, err = p.total(fd)
	}
	if err != nil {
		h.release()
		return err
	}
	p.shake = h
	if h.diag != nil {
		h.done.Go(h.run)
	} else {
		h.done.Go(h.runOnGrid)
	}
	return nil
}

// stop ends the goroutine and waits for it. A nil handshake has none.
func (h *handshake) stop() {
	if h == nil {
		return
	}
	close(h.quit)
	h.done.Wait()
}

// run completes each connect when it is due. It ends with the first one that cannot be completed
// so.
func (h *handshake) run() {
	defer h.release()
	tick := time.NewTicker(synPoll) // no event tells of a SYN that was dropped
	defer tick.Stop()
	for {
		h.look()
		if !h.openDue() {
			h.heal()
			return
		}
		select {
		case <-tick.C:
		case <-h.quit:
			return
		}
	}
}

// look finds the clients whose first SYN has come since the last call. A kernel that is too busy
// to answer is asked again.
func (h *handshake) look() {
	n, _, err := h.port.Dropped()
	if err != nil || n == h.seen {
		return
	}
	hanging, err := h.diag.to(literal(h.port.addr), 1<<tcpSynSent)
	if err != nil {
		return
	}
	h.seen = n
	at := time.Now().Add(h.delay) // a little after the SYN, never before
	known := map[uint64]bool{}
	for _, c := range hanging {
		known[c.inode] = true
		if !h.known[c.inode] {
			h.due = append(h.due, &hung{client: c, at: at, fd: -1})
		}
	}
	h.known = known
}

// openDue completes what is due, and returns false if a client hangs on. Without descriptors a
// connect, and those due after it, wait until there are some again.
func (h *handshake) openDue() bool {
	for len(h.due) > 0 && !time.Now().Before(h.due[0].at) {
		switch err := h.port.open(h, h.due[0]); {
		case noDescriptors(err):
			return true
		case err != nil:
			return false
		}
		h.due = h.due[1:]
	}
	return true
}

// release closes what is left when the state has changed.
func (h *handshake) release() {
	if h.diag != nil {
		h.diag.close()
	}
	for _, c := range h.due {
		if c.fd >= 0 {
			_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(c.fd)
		}
	}
}

// runOnGrid lets the port listen at the delay after the first SYN.
func (h *handshake) runOnGrid() {
	if h.awaitSYN() && h.sleep() {
		h.heal()
	}
}

// heal makes the port answer, and tries again until it does: there may be no descriptors for it.
func (h *handshake) heal() {
	tick := time.NewTicker(synPoll)
	defer tick.Stop()
	for h.port.heal(h) != nil {
		select {
		case <-tick.C:
		case <-h.quit:
			return
		}
	}
}

func (h *handshake) awaitSYN() bool {
	tick := time.NewTicker(synPoll)
	defer tick.Stop()
	for {
		if n, _, err := h.port.Dropped(); err != nil || n > h.seen {
			return err == nil
		}
		select {
		case <-tick.C:
		case <-h.quit:
			return false
		}
	}
}

func (h *handshake) sleep() bool {
	t := time.NewTimer(h.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.quit:
		return false
	}
}

// heal makes the port answer, unless its state was changed meanwhile.
func (p *port) heal(h *handshake) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shake != h || p.closed {
		return nil
	}
	s := p.state
	s.Handshake = 0
	return p.enter(s)
}

// openPatience, in milliseconds, is how long a client may take to answer a SYN with its own. On
// loopback it answers before connect(2) returns.
const openPatience = 50

// errHangsOn is the error for a client that cannot be connected to.
var errHangsOn = errors.New("the client hangs on")

// open completes the connect of a client that hangs, and hands the connection to Accept. The
// error is errHangsOn, or says that there are no descriptors; then what was achieved is kept for
// another try.
func (p *port) open(h *handshake, c *hung) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shake != h || p.closed {
		return nil
	}
	if c.fd < 0 {
		if !h.hangs(c.client) {
			return nil // it has given up: whoever has its address now is not to be bothered
		}
		if c.client.mptcp {
			return errHangsOn // it knows no simultaneous open, and the attempt would cost it 15 s
		}
		fd, err := p.connectTo(c.client, h.small)
		switch {
		case noDescriptors(err):
			return err
		case err != nil && h.hangs(c.client):
			return errHangsOn
		case err != nil:
			return nil
		}
		c.fd = fd
	}
	conn, err := connOf(c.fd)
	if noDescriptors(err) {
		return err
	}
	_ = unix.Close(c.fd)
	c.fd = -1
	if err == nil {
		_ = p.keep(conn, time.Now()) // of one that has ended meanwhile
		p.gen++                      // Accept looks again
		p.wake()
	}
	return nil
}

// hangs reports whether the client still waits for an answer to its SYN, as far as is known.
func (h *handshake) hangs(client diagSocket) bool {
	now, err := h.diag.one(client.local, client.remote)
	if err != nil {
		return !errors.Is(err, unix.ENOENT)
	}
	return now.inode == client.inode && now.state == tcpSynSent
}

// connOf makes a connection of a duplicate of fd, and leaves fd open.
func connOf(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "opened")
	defer f.Close()
	return net.FileConn(f)
}

// connectTo connects to a client in SYN_SENT, from the port, and returns the descriptor. The caller
// holds mu.
func (p *port) connectTo(client diagSocket, small bool) (int, error) {
	fd, err := p.twin()
	if err != nil {
		return -1, err
	}
	if small {
		err = shrinkWindow(uintptr(fd))
	}
	if err == nil {
		err = connect(fd, net.TCPAddrFromAddrPort(client.local))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connect connects a non-blocking socket to what answers at once.
func connect(fd int, to *net.TCPAddr) error {
	err := syscall.Connect(fd, sockaddr(to))
	if err == nil || err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return awaitConnected(fd)
}

// awaitConnected waits for the end of a connect that is under way. ETIMEDOUT says that it still is.
func awaitConnected(fd int) error {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, openPatience)
	for err == unix.EINTR { // by the runtime's own signals
		n, err = unix.Poll(poll, openPatience)
	}
	switch {
	case err != nil:
		return os.NewSyscallError("poll", err)
	case n == 0:
		return os.NewSyscallError("connect", unix.ETIMEDOUT)
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return os.NewSyscallError("connect", err)
}

// twin binds a second socket to the port, beside the one that listens. Both need SO_REUSEPORT
// for that, but only while bind(2) looks. In those microseconds, and at no other time, another
// socket of the same user that has set the option could bind here. The caller holds mu.
func (p *port) twin() (int, error) {
	family := unix.AF_INET
	if p.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// As an accepted connection has it: the two then do not bar each other, nor it us from
	// listening again.
	err = setReuseAddr(fd, 1)
	if err == nil {
		err = setReusePort(fd, 1)
	}
	if err == nil {
		err = p.control(func(listener int) error { return bindBeside(fd, listener, p.addr) })
	}
	if err == nil {
		err = setReusePort(fd, 0)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindBeside(fd, listener int, a *net.TCPAddr) error {
	if err := setReusePort(listener, 1); err != nil {
		return err
	}
	err := os.NewSyscallError("bind", syscall.Bind(fd, sockaddr(a)))
	if err2 := setReusePort(listener, 0); err == nil {
		err = err2
	}
	return err
}

func setReusePort(fd, on int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on))
}

// canOpen reports whether sock_diag and simultaneous open work here (gVisor has neither). Each
// family is tried once per process.
func canOpen(v6 bool) bool {
	if v6 {
		return canOpen6.ask(func() (bool, error) { return probeOpen(net.IPv6loopback, canDrop(true)) })
	}
	return canOpen4.ask(func() (bool, error) { return probeOpen(net.IPv4(127, 0, 0, 1), canDrop(false)) })
}

var canOpen4, canOpen6 probe

func probeOpen(ip net.IP, minTTL bool) (bool, error) {
	p, err := bindPort(&net.TCPAddr{IP: ip}, minTTL)
	if err != nil {
		return false, err
	}
	defer func() { _ = p.Close() }()
	client, _, err := boundSocket(&net.TCPAddr{IP: ip})
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(client) }()
	d, err := openSockDiag()
	if err != nil {
		return false, err
	}
	defer d.close()
	p.mu.Lock()
	defer p.mu.Unlock() // before the Close above
	if err := p.control(p.drop); err != nil {
		return false, err
	}
	_ = syscall.Connect(client, sockaddr(p.addr)) // EINPROGRESS: the SYN is dropped
	hanging, err := d.to(literal(p.addr), 1<<tcpSynSent)
	if err != nil || len(hanging) != 1 {
		return false, err
	}
	fd, err := p.connectTo(hanging[0], false)
	if err != nil {
		return false, err
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return true, unix.Close(fd)
}
