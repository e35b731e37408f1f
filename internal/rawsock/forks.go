package rawsock

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// forkTries, a millisecond apart, are for a child that gets no processor: with one, it takes some
// 100 us from fork to its own program.
const forkTries = 1000

// pastForks calls f, which binds address, again while that is in use and none of this process's own
// sockets holds it. shares says that f's socket shares the address with connections, as
// SO_REUSEADDR lets it. A child that is being forked holds copies of all descriptors until its own
// program runs, also of those that have been closed meanwhile, and with them their ports. Where
// sockets cannot be listed, it calls f once.
func pastForks[T any](nw, address string, shares bool, f func() (T, error)) (T, error) {
	v, err := f()
	for try := 0; try < forkTries && err != nil && addressInUse(err) && isElsewhere(nw, address, shares); try++ {
		awaitForks()
		time.Sleep(time.Millisecond)
		v, err = f()
	}
	return v, err
}

// awaitForks returns when children that are being forked have come nearly as far as their own
// program.
func awaitForks() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

// isElsewhere reports that address is taken, and by no socket of this process. A name stands for
// any address.
func isElsewhere(nw, address string, shares bool) bool {
	host, port, _ := net.SplitHostPort(address)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		ip = netip.IPv4Unspecified()
	}
	held, err := holds(strings.HasPrefix(nw, "udp"), netip.AddrPortFrom(ip, uint16(n)), shares)
	return err == nil && !held
}
