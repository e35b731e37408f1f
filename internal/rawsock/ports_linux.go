package rawsock

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// portCount counts the ports that were handed out; it begins anywhere, so that processes that run side by side do not
// try the same ones.
var portCount atomic.Uint32

func init() { portCount.Store(rand.Uint32()) }

// nextPort returns a port of the system's ephemeral range to try, or 0 if the kernel had better choose. Going through
// the range in order spares a socket, and keeps a port that was just given back, to which somebody's retransmissions may
// still be under way, from being used again soon. Of each pair it takes the port that the kernel's own bind(0) prefers,
// the odd offset: connect takes the even ones first (net/ipv4/inet_connection_sock.c).
func nextPort() int {
	r := portRange()
	pairs := (r.high - r.low + 1) / 2
	if pairs < bindTries {
		return 0
	}
	return r.low + 2*int(portCount.Add(1)%uint32(pairs)) + 1
}

type ports struct{ low, high int }

// portRange reads net.ipv4.ip_local_port_range, once; it is empty if that fails, or if some ports of it are reserved.
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
