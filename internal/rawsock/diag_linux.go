package rawsock

import (
	"encoding/binary"
	"net"
	"net/netip"
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

// diag asks and reads the answer: one socket, or all of a dump.
func diag(r *diagRequest, flags uint16) ([]diagSocket, error) {
	const reply = int(unsafe.Sizeof(diagReply{}))
	var found []diagSocket
	err := sockDiag(unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)), flags, func(b []byte) {
		if len(b) >= reply {
			found = append(found, socketOf((*diagReply)(unsafe.Pointer(&b[0])), b[reply:]))
		}
	})
	return found, err
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
	eachAttribute(attributes, func(kind uint16, value []byte) {
		switch kind {
		case inetDiagInfo:
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.info)), unsafe.Sizeof(s.info)), value)
		case inetDiagULP:
			s.mptcp = true
		}
	})
	return s
}
