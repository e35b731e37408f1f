package rawsock

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of include/uapi/linux/inet_diag.h that package unix does not have.
const (
	inetDiagInfo     = 2  // INET_DIAG_INFO, the attribute with a tcp_info
	inetDiagMemory   = 7  // INET_DIAG_SKMEMINFO, the attribute with what a socket's buffers take
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
	full          bool // the send buffer: a write that begins now waits (sk_stream_memory_free)
	tight         bool // a write that waits goes on waiting (sk_stream_is_writable)
	mptcp         bool // or another such protocol
	info          unix.TCPInfo
}

// diagOne finds the socket with these two addresses; without one, the error is ENOENT.
func diagOne(local, remote netip.AddrPort) (s diagSocket, err error) {
	err = askOnce(func(d *sockDiag) error { s, err = d.one(local, remote); return err })
	return s, err
}

// one is diagOne, on a socket that is kept.
func (d *sockDiag) one(local, remote netip.AddrPort) (diagSocket, error) {
	r := newDiagRequest(local.Addr().Is6())
	binary.BigEndian.PutUint16(r.id.sport[:], local.Port())
	binary.BigEndian.PutUint16(r.id.dport[:], remote.Port())
	copy(r.id.src[:], local.Addr().AsSlice())
	copy(r.id.dst[:], remote.Addr().AsSlice())
	found, err := d.sockets(r, 0)
	if err == nil && (len(found) == 0 || found[0].remote != remote) {
		err = unix.ENOENT // the kernel shows the listener instead, if there is one
	}
	if err != nil {
		return diagSocket{}, err
	}
	return found[0], nil
}

// to finds the sockets in one of these states whose other end is addr: of IPv6 too, which can be connected to an IPv4 address,
// as Java's are by default.
func (d *sockDiag) to(addr netip.AddrPort, states uint32) ([]diagSocket, error) {
	if !addr.Addr().Is4() {
		return d.dump(addr, unix.AF_INET6, states)
	}
	found, err := d.dump(addr, unix.AF_INET, states)
	if err != nil {
		return nil, err
	}
	mapped, err := d.dump(addr, unix.AF_INET6, states)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) { // a kernel without IPv6 has none
		err = nil
	}
	return append(found, mapped...), err
}

// dump finds those of one family.
func (d *sockDiag) dump(addr netip.AddrPort, family uint8, states uint32) ([]diagSocket, error) {
	r := newDiagRequest(family == unix.AF_INET6)
	r.states = states
	binary.BigEndian.PutUint16(r.id.dport[:], addr.Port())
	all, err := d.sockets(r, unix.NLM_F_DUMP)
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
	r := &diagRequest{family: unix.AF_INET, protocol: unix.IPPROTO_TCP, extensions: 1<<(inetDiagInfo-1) | 1<<(inetDiagMemory-1),
		states: inetDiagNoCookie}
	if v6 {
		r.family = unix.AF_INET6
	}
	r.id.cookie = [2]uint32{inetDiagNoCookie, inetDiagNoCookie}
	return r
}

// sockets asks and reads the answer: one socket, or all of a dump.
func (d *sockDiag) sockets(r *diagRequest, flags uint16) ([]diagSocket, error) {
	const reply = int(unsafe.Sizeof(diagReply{}))
	var found []diagSocket
	err := d.ask(unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)), flags, func(b []byte) {
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
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port[:])) // a socket of IPv6 may speak IPv4
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
		case inetDiagMemory:
			s.full, s.tight = fullBuffer(value)
		case inetDiagULP:
			s.mptcp = true
		}
	})
	return s
}

// fullBuffer reads SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED (include/uapi/linux/sock_diag.h).
func fullBuffer(memory []byte) (full, tight bool) {
	const size, queued, word = 3, 5, 4
	if len(memory) < (queued+1)*word {
		return false, false
	}
	q := binary.NativeEndian.Uint32(memory[queued*word:])
	room := int64(binary.NativeEndian.Uint32(memory[size*word:])) - int64(q)
	return room <= 0, room < int64(q/2)
}
