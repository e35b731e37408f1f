package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sockDiag is a socket of NETLINK_SOCK_DIAG, to ask the kernel about sockets with. It asks for no privilege (sock_diag(7)).
// It is for one goroutine at a time.
type sockDiag struct {
	fd  int
	seq uint32 // of the latest question
	buf []byte
}

func openSockDiag() (*sockDiag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	switch {
	case noDescriptors(err):
		return nil, os.NewSyscallError("socket", err)
	case err != nil:
		return nil, unsupported("no NETLINK_SOCK_DIAG here", err)
	}
	// A kernel that does not answer must not hang us.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	return &sockDiag{fd: fd, buf: make([]byte, 1<<15)}, nil
}

func (d *sockDiag) close() { _ = unix.Close(d.fd) }

// askOnce asks on a socket for this one question.
func askOnce(f func(d *sockDiag) error) error {
	d, err := openSockDiag()
	if err != nil {
		return err
	}
	defer d.close()
	return f(d)
}

// ask asks about the sockets of one family, which the request begins with, and calls each with what the kernel says of each
// socket: one, or all of a dump.
func (d *sockDiag) ask(request []byte, flags uint16, each func(reply []byte)) error {
	d.seq++
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	header := (*unix.NlMsghdr)(unsafe.Pointer(&msg[0]))
	*header = unix.NlMsghdr{Len: uint32(cap(msg)), Type: unix.SOCK_DIAG_BY_FAMILY, Flags: unix.NLM_F_REQUEST | flags, Seq: d.seq}
	if err := unix.Sendto(d.fd, append(msg, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err == unix.EINTR { // which a socket with a limit gets for the runtime's own signals (signal(7))
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n >= unix.NLMSG_HDRLEN && (*unix.NlMsghdr)(unsafe.Pointer(&d.buf[0])).Seq != d.seq {
			continue // a late answer to an earlier question
		}
		more, err := readDiag(d.buf[:n], each)
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
