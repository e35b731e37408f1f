package rawsock

import (
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/contact"
	"example.com/go-sockettest/network"
)

var (
	_ contact.Counter = (*port)(nil)
	_ contact.Counter = (*unixPort)(nil)
)

// Met counts the connections that were made and the SYNs that were dropped. A connect that is
// refused leaves no trace.
func (p *port) Met() contact.Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.state.Answer == network.Listen || p.state.Answer == network.Drop
	c := contact.Count{Signs: int(p.met.Load()) + p.dropped, All: answers}
	if !p.closed && p.listening {
		open, dropped, err := p.metByKernel()
		c.Open, c.Signs, c.All = open, c.Signs+open+dropped, answers && err == nil
	}
	return c
}

// metByKernel returns how many connections wait in either queue, and how many SYNs were dropped that
// p.dropped does not have. The caller holds mu.
func (p *port) metByKernel() (open, dropped int, err error) {
	err = p.control(func(fd int) (err error) {
		if open, err = queued(fd); err == nil && p.counting {
			dropped, err = p.total(fd)
			dropped -= p.dropped
		}
		return err
	})
	if open += len(p.rescued); p.filler != nil {
		open--
	}
	return open, dropped, err
}

// leaveQueues counts what waits in both queues before it is reset. The caller holds mu.
func (p *port) leaveQueues(fd int) {
	if n, err := queued(fd); err == nil && p.listening {
		p.met.Add(int64(n))
	}
	p.met.Add(int64(len(p.rescued)))
}

// Met counts the connections that were made. A connect that fails leaves no trace: neither at a
// path where nobody listens, nor at a full accept queue.
func (p *unixPort) Met() contact.Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, room := p.waiting(), p.state.Backlog
	return contact.Count{Signs: p.met + n, Open: n, All: p.state.Answer == network.Listen && (room == 0 || n < room)}
}

// waiting is how many connections are in the accept queue, if the kernel shows it. The caller holds
// mu.
func (p *unixPort) waiting() int {
	n := 0
	if !p.closed && p.ln != nil {
		_ = p.control(func(fd int) (err error) { n, err = queuedUnix(fd); return err })
	}
	return n
}

// Pending reports whether a datagram has come that nobody has read.
func (p *packetPort) Pending() bool {
	n := 0
	err := control(p.UDPConn, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
	return err == nil && n > 0
}

// Queued is how many connections wait in the accept queue of a listener of TCP; 0 of any other.
func Queued(ln syscall.Conn) int {
	n := 0
	_ = control(ln, func(fd int) (err error) { n, err = queued(fd); return err })
	return n
}

// heard counts the bytes that have come, FIN or RST as one more, and the segments that a partition
// has dropped.
func heard(fd int, cut bool) (int64, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, err
	}
	n := int64(info.Bytes_received)
	if info.State == tcpClose {
		n++
	}
	if cut {
		lost, err := drops(fd)
		if err != nil {
			return 0, err
		}
		n += int64(lost)
	}
	return n, nil
}
