package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of include/uapi/linux/inet_diag.h that package unix does not have.
const (
	inetDiagInfo     = 2  // INET_DIAG_INFO, the attribute with a tcp_info
	inetDiagULP      = 19 // INET_DIAG_ULP_INFO, the attribute of a socket that serves another protocol, such as MPTCP
	inetDiagNoCookie = 0xffffffff
)

type diagID struct {
	sport, dport [2]byte
	src, dst     [16]byte
	index        uint32
	cookie       [2]uint32
}

type diagRequest struct {
	family, protocol, extensions, _ uint8
	states                          uint32
	id                              diagID
}

type diagReply struct {
	family, state, timer, retrans      uint8
	id                                 diagID
	expires, rqueue, wqueue, uid, node uint32
}

// A diagSocket is what NETLINK_SOCK_DIAG tells of a TCP socket of this network namespace, whoever owns it. It asks for
// no privilege (sock_diag(7)).
type diagSocket struct {
	local, remote netip.AddrPort
	state         uint8
	inode         uint64
	unread        int // of a connection
	unacked       int
	mptcp         bool // or another such protocol
	info          unix.TCPInfo
}

// diagOne finds the socket with these two addresses; without one, the error is ENOENT.
func diagOne(local, remote netip.AddrPort) (diagSocket, error) {
	r := newDiagRequest(local.Addr().Is6())
	binary.BigEndian.PutUint16(r.id.sport[:], local.Port())
	binary.BigEndian.PutUint16(r.id.dport[:], remote.Port())
	copy(r.id.src[:], local.Addr().AsSlice())
	copy(r.id.dst[:], remote.Addr().AsSlice())
	found, err := diag(r, 0)
	if err == nil && (len(found) == 0 || found[0].remote != remote) {
		err = unix.ENOENT // the kernel shows the listener instead, if there is one
	}
	if err != nil {
		return diagSocket{}, err
	}
	return found[0], nil
}

// diagConnecting finds the sockets whose SYN to addr has not been answered yet.
func diagConnecting(addr netip.AddrPort) ([]diagSocket, error) { return diagTo(addr, 1<<tcpSynSent) }

// diagTo finds the sockets in one of these states whose other end is addr.
func diagTo(addr netip.AddrPort, states uint32) ([]diagSocket, error) {
	r := newDiagRequest(addr.Addr().Is6())
	r.states = states
	binary.BigEndian.PutUint16(r.id.dport[:], addr.Port())
	all, err := diag(r, unix.NLM_F_DUMP)
	found := all[:0]
	for _, s := range all {
		if s.remote == addr {
			found = append(found, s)
		}
	}
	return found, err
}

// literal is a's address as sock_diag writes it: an IPv4 one in 4 bytes.
func literal(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func newDiagRequest(v6 bool) *diagRequest {
	r := &diagRequest{family: unix.AF_INET, protocol: unix.IPPROTO_TCP, extensions: 1 << (inetDiagInfo - 1), states: inetDiagNoCookie}
	if v6 {
		r.family = unix.AF_INET6
	}
	r.id.cookie = [2]uint32{inetDiagNoCookie, inetDiagNoCookie}
	return r
}

// diag asks and reads the answer: one message, or all of a dump.
func diag(r *diagRequest, flags uint16) ([]diagSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("linux: no NETLINK_SOCK_DIAG here (%w): %w", err, errors.ErrUnsupported)
	}
	defer func() { _ = unix.Close(fd) }()
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+int(unsafe.Sizeof(*r)))
	msg = append(msg, unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))...)
	header := (*unix.NlMsghdr)(unsafe.Pointer(&msg[0]))
	*header = unix.NlMsghdr{Len: uint32(len(msg)), Type: unix.SOCK_DIAG_BY_FAMILY, Flags: unix.NLM_F_REQUEST | flags}
	// A kernel that does not answer must not hang us.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var found []diagSocket
	buf := make([]byte, 1<<15)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return found, os.NewSyscallError("recvfrom", err)
		}
		more, err := readDiag(buf[:n], &found)
		if err != nil || !more || flags&unix.NLM_F_DUMP == 0 {
			return found, err
		}
	}
}

// readDiag reads the messages of one datagram, and says whether there may be another.
func readDiag(b []byte, found *[]diagSocket) (more bool, err error) {
	const reply = unix.NLMSG_HDRLEN + int(unsafe.Sizeof(diagReply{}))
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
		case kind == unix.SOCK_DIAG_BY_FAMILY && size >= reply:
			*found = append(*found, socketOf((*diagReply)(unsafe.Pointer(&b[unix.NLMSG_HDRLEN])), b[reply:size]))
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

func socketOf(m *diagReply, attributes []byte) diagSocket {
	s := diagSocket{state: m.state, inode: uint64(m.node), unread: int(m.rqueue), unacked: int(m.wqueue)}
	address := func(ip [16]byte, port [2]byte) netip.AddrPort {
		a := netip.AddrFrom16(ip)
		if m.family == unix.AF_INET {
			a = netip.AddrFrom4([4]byte(ip[:4]))
		}
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port[:]))
	}
	switch m.state { // a FIN that was not read counts as a byte here, not with SIOCINQ
	case tcpCloseWait, tcpLastAck, tcpClosing:
		s.unread = max(0, s.unread-1)
	}
	s.local, s.remote = address(m.id.src, m.id.sport), address(m.id.dst, m.id.dport)
	for a := attributes; len(a) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(a))
		if size < unix.SizeofRtAttr || size > len(a) {
			break
		}
		switch binary.NativeEndian.Uint16(a[2:]) &^ unix.NLA_F_NESTED {
		case inetDiagInfo:
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.info)), unsafe.Sizeof(s.info)), a[unix.SizeofRtAttr:size])
		case inetDiagULP:
			s.mptcp = true
		}
		a = a[min(len(a), (size+3)&^3):]
	}
	return s
}
