//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package rawsock

import (
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// here is this system's table. Linux has its own port (port_linux.go). Here it stands in for
// FreeBSD, whose answers it gives, so that tests run every line of this file.
var here = bsd(runtime.GOOS)

// bsd knows the systems by their kernels' sources; none but Linux was run.
//
// A SYN for a socket that is bound only: FreeBSD answers RST; DragonFly too, since only listeners
// are in the table where it looks (in_pcblookup_hash, tcp_usr_listen). macOS, OpenBSD and NetBSD
// find the socket and drop the SYN (tcp_input: "if (tp->t_state == TCPS_CLOSED) goto drop").
//
// A bind with SO_REUSEADDR, as net.Listen does it, overlooks sockets that are connected (in_pcbbind
// of macOS, OpenBSD and NetBSD). So where it takes a holder to refuse, whoever asks for this very
// port with net.Listen gets it.
func bsd(goos string) platform {
	sys := platform{goos: goos, bind: bindOnly, reuse: setReuse}
	option, ok := ipMinTTL[goos]
	if !ok {
		sys.refuse, sys.drop4, sys.drop6 = connected, bound, bound
		return sys
	}
	sys.refuse, sys.drop4, sys.silenceName = bound, silent, "IP_MINTTL"
	sys.whyNot = "IP_MINTTL makes a listener drop, and has no IPv6 counterpart here"
	// Loopback packets carry the default TTL, 64; less than 255 is dropped (ip(4), RFC 5082). An
	// accepted connection would inherit the option, but a listener that was born with it never gets
	// one.
	sys.silence = func(fd uintptr) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, option, 255))
	}
	return sys
}

// ipMinTTL is IP_MINTTL where we use it. Package unix has it too, but not on macOS.
var ipMinTTL = map[string]int{"dragonfly": 0x42, "freebsd": 0x42, "linux": 0x15}

func setReuse(fd uintptr, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, value))
}

// bindOnly holds a port by a socket that never listens.
func bindOnly(a *net.TCPAddr, reuse bool) (io.Closer, int, error) {
	fd, err := privateSocket(familyOf(a))
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), a.String())
	port, err := bindSocket(fd, sockaddr(a), reuse)
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, port, nil
}

// privateSocket keeps the socket from child processes, which would hold the port. macOS has no
// SOCK_CLOEXEC.
func privateSocket(family int) (fd int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err = unix.Socket(family, unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// bindSocket sets SO_REUSEADDR for the bind only: on Linux, a socket that keeps it lets any
// net.Listen have the port.
func bindSocket(fd int, sa syscall.Sockaddr, reuse bool) (port int, err error) {
	if reuse {
		if err := setReuse(uintptr(fd), true); err != nil {
			return 0, err
		}
	}
	if err := syscall.Bind(fd, sa); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	if reuse {
		if err := setReuse(uintptr(fd), false); err != nil {
			return 0, err
		}
	}
	got, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return inetPort(got), nil
}
