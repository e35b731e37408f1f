package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockDiag asks NETLINK_SOCK_DIAG about the sockets of one family, which the request begins with, and calls each with what
// it says of each socket: one, or all of a dump. It asks for no privilege (sock_diag(7)).
func sockDiag(request []byte, flags uint16, each func(reply []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	switch {
	case noDescriptors(err):
		return os.NewSyscallError("socket", err)
	case err != nil:
		return unsupported("no NETLINK_SOCK_DIAG here", err)
	}
	defer func() { _ = unix.Close(fd) }()
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	header := (*unix.NlMsghdr)(unsafe.Pointer(&msg[0]))
	*header = unix.NlMsghdr{Len: uint32(cap(msg)), Type: unix.SOCK_DIAG_BY_FAMILY, Flags: unix.NLM_F_REQUEST | flags}
	// A kernel that does not answer must not hang us.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	if err := unix.Sendto(fd, append(msg, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 1<<15)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		more, err := readDiag(buf[:n], each)
		if err != nil || !more || flags&unix.NLM_F_DUMP == 0 {
			return err
		}
	}
}

// readDiag reads the messages of one datagram, and says whether there may be another.
func readDiag(b []byte, each func(reply []byte)) (more bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		switch {
		case size < unix.NLMSG_HDRLEN || size > len(b):
			return false, errors.New("linux: sock_diag sent half a message")
		case kind == unix.NLMSG_DONE:
			return false, nil
		case kind == unix.NLMSG_ERROR && size >= unix.NLMSG_HDRLEN+4:
			return false, diagError(-int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])))
		case kind == unix.SOCK_DIAG_BY_FAMILY:
			each(b[unix.NLMSG_HDRLEN:size])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return true, nil
}

func diagError(errno int32) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError("sock_diag", unix.Errno(errno))
}

// eachAttribute goes through what follows a reply (netlink(7), struct rtattr).
func eachAttribute(a []byte, f func(kind uint16, value []byte)) {
	for len(a) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(a))
		if size < unix.SizeofRtAttr || size > len(a) {
			return
		}
		f(binary.NativeEndian.Uint16(a[2:])&^unix.NLA_F_NESTED, a[unix.SizeofRtAttr:size])
		a = a[min(len(a), (size+3)&^3):]
	}
}

func unsupported(what string, err error) error {
	return fmt.Errorf("linux: %s (%w): %w", what, err, errors.ErrUnsupported)
}
