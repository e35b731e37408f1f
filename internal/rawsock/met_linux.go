package rawsock

import (
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// Visits counts the connections that were made and the SYNs that were dropped. A connect that is
// refused leaves no trace.
func (p *port) Visits() network.Visits {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.state.Answer == network.Listen || p.state.Answer == network.Drop
	c := network.Visits{Count: int(p.met.Load()) + p.dropped, Complete: answers}
	if !p.closed && p.listening {
		open, dropped, err := p.metByKernel()
		c.Open, c.Count, c.Complete = open, c.Count+open+dropped, answers && err == nil
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

// Visits counts the connections that were made. A connect that fails leaves no trace: neither at a
// path where nobody listens, nor at a full accept queue.
func (p *unixPort) Visits() network.Visits {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, room := p.waiting(), p.state.Backlog
	return network.Visits{Count: p.met + n, Open: n, Complete: p.state.Answer == network.Listen && (room == 0 || n < room)}
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

// Visits counts no datagrams. It shows whether one has come that nobody has read.
func (p *packetPort) Visits() network.Visits {
	n := 0
	err := control(p.UDPConn, func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.SIOCINQ); return err })
	if err != nil || n == 0 {
		return network.Visits{}
	}
	return network.Visits{Open: 1}
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
