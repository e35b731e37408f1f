package rawsock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// These bound the search for a free port. Our own guesses are quick, but all of them may be
// taken, by sockets or by closed connections (TIME_WAIT, a minute). The kernel knows which ports
// are free; then a try fails only if another program takes the port in the microsecond between
// two calls.
const (
	ourTries  = 8
	bindTries = ourTries + 100
)

func bind(_ context.Context, addr *net.TCPAddr) (network.Port, error) {
	p, err := bindPort(addr, canDrop(addr.IP.To4() == nil))
	if err != nil {
		return nil, explainBind("linux", addr, err) // not p: a nil *port is no nil network.Port
	}
	return p, nil
}

func bindPort(addr *net.TCPAddr, minTTL bool) (*port, error) {
	fd, num, err := bindByNumber(addr)
	if err != nil {
		return nil, err
	}
	return newPort(fd, &net.TCPAddr{IP: addr.IP, Port: num}, minTTL), nil
}

// bindByNumber binds to an explicit port even when any will do. A socket that got its port from
// bind(0) loses it at shutdown(2), which is how a listener is made to refuse; a socket that
// asked for the number keeps it.
func bindByNumber(addr *net.TCPAddr) (fd, port int, err error) {
	if addr.Port != 0 {
		return boundSocket(addr)
	}
	for try := range bindTries {
		a := &net.TCPAddr{IP: addr.IP}
		if try < ourTries {
			a.Port = nextPort()
		}
		if a.Port == 0 {
			if a.Port, err = freePort(addr); err != nil {
				return -1, 0, err
			}
		}
		fd, port, err = boundSocket(a)
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return fd, port, err
}

// freePort asks the kernel for a port and gives it back, to be bound by number.
func freePort(addr *net.TCPAddr) (int, error) {
	fd, port, err := boundSocket(addr)
	if err == nil {
		err = unix.Close(fd)
	}
	return port, err
}

// portCount counts the ports that were handed out. It starts at random, so that processes that
// run side by side try different ports.
var portCount atomic.Uint32

func init() { portCount.Store(rand.Uint32()) }

// nextPort returns a port of the system's ephemeral range to try, or 0 to let the kernel choose.
// Going through the range in order saves a socket, and does not soon reuse a port that was just
// given back, to which retransmissions may still be under way. Of each pair it takes the port
// that the kernel's bind(0) prefers, the odd offset, since connect takes the even ones first
// (net/ipv4/inet_connection_sock.c).
func nextPort() int {
	r := portRange()
	pairs := (r.high - r.low + 1) / 2
	if pairs < bindTries {
		return 0
	}
	return r.low + 2*int(portCount.Add(1)%uint32(pairs)) + 1
}

type ports struct{ low, high int }

// portRange reads net.ipv4.ip_local_port_range, once; it is empty if that fails, or if some ports
// of it are reserved.
var portRange = sync.OnceValue(func() (r ports) {
	const dir = "/proc/sys/net/ipv4/"
	text, err := os.ReadFile(dir + "ip_local_port_range")
	if err != nil {
		return ports{}
	}
	if _, err := fmt.Sscan(string(text), &r.low, &r.high); err != nil {
		return ports{}
	}
	if reserved, err := os.ReadFile(dir + "ip_local_reserved_ports"); err != nil || strings.TrimSpace(string(reserved)) != "" {
		return ports{}
	}
	return r
})

// backlog asks for all that the kernel gives (net.core.somaxconn caps it).
const backlog = 4096

// admits returns what to pass to listen(2) so that the accept queue takes n connections: Linux
// takes one more than it is told. A number that is too large is an error here, because the
// kernel would cut it silently.
func admits(n int) (int, error) {
	if n == 0 {
		return backlog, nil
	}
	if most := somaxconn() + 1; n > most {
		return 0, fmt.Errorf("State.Backlog is %d; want at most %d, which is this machine's net.core.somaxconn and one more", n, most)
	}
	return n - 1, nil
}

// somaxconn is what the kernel's own listen(2) would cut a backlog to; 4096 by default, since Linux
// 5.4.
func somaxconn() int {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return n
		}
	}
	return backlog
}
