package rawsock

import (
	"net"
	"strconv"
	"syscall"
	"time"
)

// forkTries, a millisecond apart, are for a child that gets no processor: with one, it takes some
// 100 us from fork to its own program.
const forkTries = 1000

// pastForks calls f, which binds address, again while that is in use and none of this process's own
// sockets has it. A child that is being forked holds copies of all descriptors until its own
// program runs, also of those that have been closed meanwhile, and with them their ports. Where
// sockets cannot be listed, it calls f once.
func pastForks[T any](address string, f func() (T, error)) (T, error) {
	v, err := f()
	for try := 0; try < forkTries && err != nil && addressInUse(err) && isElsewhere(address); try++ {
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

// isElsewhere reports that address has a port, at which no socket of this process is bound or
// listens.
func isElsewhere(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	if n, err := strconv.Atoi(port); err != nil || n == 0 {
		return false
	}
	all, err := Sockets()
	for _, s := range all {
		if _, own, _ := net.SplitHostPort(s.Local); own == port && s.Remote == "" {
			return false
		}
	}
	return err == nil
}
