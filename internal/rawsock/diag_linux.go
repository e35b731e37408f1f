package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// A sockDiag is a NETLINK_SOCK_DIAG socket, through which the kernel answers questions about
// sockets. It needs no privilege (sock_diag(7)). Only one goroutine may use it at a time.
type sockDiag struct {
	fd  int
	seq uint32 // of the latest question
	buf *[1 << 15]byte
}

// buffers are for what the kernel sends at once. A question costs less than a new one.
var buffers = sync.Pool{New: func() any { return new([1 << 15]byte) }}

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
	return &sockDiag{fd: fd, buf: buffers.Get().(*[1 << 15]byte)}, nil
}

func (d *sockDiag) close() {
	_ = unix.Close(d.fd)
	buffers.Put(d.buf)
}

// askOnce opens a sockDiag for one question.
func askOnce(f func(d *sockDiag) error) error {
	d, err := openSockDiag()
	if err != nil {
		return err
	}
	defer d.close()
	return f(d)
}

// ask asks about sockets, and calls each for each socket in the answer: one, or all of a dump.
func (d *sockDiag) ask(kind uint16, request []byte, flags uint16, each func(reply []byte)) error {
	d.seq++
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	header := (*unix.NlMsghdr)(unsafe.Pointer(&msg[0]))
	*header = unix.NlMsghdr{Len: uint32(cap(msg)), Type: kind, Flags: unix.NLM_F_REQUEST | flags, Seq: d.seq}
	if err := unix.Sendto(d.fd, append(msg, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf[:], 0)
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

// readDiag reads the messages of one datagram, and reports whether another may follow.
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
		case kind == unix.SOCK_DIAG_BY_FAMILY, kind == tcpDiagGetSock:
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

// eachAttribute calls f for each attribute after a reply (netlink(7), struct rtattr).
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

// The parts of include/uapi/linux/inet_diag.h that package unix does not have.
const (
	tcpDiagGetSock   = 18 // TCPDIAG_GETSOCK, the older kind of request
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

type oldDiagRequest struct {
	_, _, _, extensions uint8
	id                  diagID
	states, _           uint32
}

// diagRetransmits is diagReply.timer while the retransmission timer runs (net/ipv4/inet_diag.c).
const diagRetransmits = 1

type diagReply struct {
	family, state, timer, retrans      uint8
	id                                 diagID
	expires, rqueue, wqueue, uid, node uint32
}

// A diagSocket is what NETLINK_SOCK_DIAG tells of a TCP socket of this network namespace, of any
// owner. It needs no privilege (sock_diag(7)).
type diagSocket struct {
	local, remote netip.AddrPort
	state         uint8
	inode         uint64
	unread        int // of a connection
	unacked       int
	full          bool          // the send buffer: a write that begins now waits (sk_stream_memory_free)
	tight         bool          // a write that waits goes on waiting (sk_stream_is_writable)
	mptcp         bool          // or another such protocol
	retry         time.Duration // until the retransmission timer fires; 0: it does not run
	info          unix.TCPInfo
}

// diagOne finds the socket with these two addresses. If there is none, the error is ENOENT.
func diagOne(local, remote netip.AddrPort) (s diagSocket, err error) {
	err = askOnce(func(d *sockDiag) error { s, err = d.one(local, remote); return err })
	return s, err
}

// one is diagOne on a sockDiag that is open.
func (d *sockDiag) one(local, remote netip.AddrPort) (diagSocket, error) {
	r := newDiagRequest(local.Addr().Is6())
	binary.BigEndian.PutUint16(r.id.sport[:], local.Port())
	binary.BigEndian.PutUint16(r.id.dport[:], remote.Port())
	copy(r.id.src[:], local.Addr().AsSlice())
	copy(r.id.dst[:], remote.Addr().AsSlice())
	found, err := d.sockets(unix.SOCK_DIAG_BY_FAMILY, bytesOf(r), 0)
	if err == nil && (len(found) == 0 || found[0].remote != remote) {
		err = unix.ENOENT // the kernel shows the listener instead, if there is one
	}
	if err != nil {
		return diagSocket{}, err
	}
	return found[0], nil
}

// settled is one whose state, queue and acknowledged bytes belong together. The kernel reads them
// one after the other: they do once nothing has changed from one answer to the next. That of a
// socket which is written to all the time may be from within a write.
func (d *sockDiag) settled(local, remote netip.AddrPort) (s diagSocket, err error) {
	for range 10 {
		was := s
		s, err = d.one(local, remote)
		if err != nil || s.state == was.state && s.written() == was.written() && s.unacked == was.unacked {
			break
		}
	}
	return s, err
}

// written is what was written to the socket: SYN and FIN count as a byte each.
func (s diagSocket) written() int64 { return int64(s.info.Bytes_acked) + int64(s.unacked) }

// to finds the sockets in one of these states whose other end is addr. IPv6 sockets are among
// them: they can be connected to an IPv4 address, as Java's are by default. The kernel goes through
// all of its table for each dump; the older kind of request is for both families.
func (d *sockDiag) to(addr netip.AddrPort, states uint32) ([]diagSocket, error) {
	r := &oldDiagRequest{extensions: diagExtensions, states: states}
	binary.BigEndian.PutUint16(r.id.dport[:], addr.Port())
	all, err := d.sockets(tcpDiagGetSock, bytesOf(r), unix.NLM_F_DUMP)
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

const diagExtensions = 1<<(inetDiagInfo-1) | 1<<(inetDiagMemory-1)

func newDiagRequest(v6 bool) *diagRequest {
	r := &diagRequest{family: unix.AF_INET, protocol: unix.IPPROTO_TCP, extensions: diagExtensions, states: inetDiagNoCookie}
	if v6 {
		r.family = unix.AF_INET6
	}
	r.id.cookie = [2]uint32{inetDiagNoCookie, inetDiagNoCookie}
	return r
}

func bytesOf[T any](r *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)) }

// sockets asks, and returns the sockets in the answer.
func (d *sockDiag) sockets(kind uint16, request []byte, flags uint16) ([]diagSocket, error) {
	const reply = int(unsafe.Sizeof(diagReply{}))
	var found []diagSocket
	err := d.ask(kind, request, flags, func(b []byte) {
		if len(b) >= reply {
			found = append(found, socketOf((*diagReply)(unsafe.Pointer(&b[0])), b[reply:]))
		}
	})
	return found, err
}

func socketOf(m *diagReply, attributes []byte) diagSocket {
	s := diagSocket{state: m.state, inode: uint64(m.node), unread: int(m.rqueue), unacked: int(m.wqueue)}
	if m.timer == diagRetransmits {
		s.retry = time.Duration(m.expires) * time.Millisecond
	}
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

// Clients returns the sockets of this machine that are connecting or connected to the port: those
// whose SYN nobody has answered, those that wait in the accept queue, and those that were accepted.
// One that has sent FIN is among them as long as its owner has it open. Where sock_diag does not
// answer, the error wraps [errors.ErrUnsupported].
func (p *port) Clients() ([]network.Client, error) {
	const halfClosed = 1<<tcpFinWait1 | 1<<tcpFinWait2
	var all []diagSocket
	err := askOnce(func(d *sockDiag) (err error) {
		all, err = d.to(literal(p.addr), 1<<tcpSynSent|1<<tcpEstablished|halfClosed)
		return err
	})
	if err != nil {
		return nil, unsupported("the clients of a port are not shown", err)
	}
	clients := make([]network.Client, 0, len(all))
	for _, s := range all {
		c := network.Client{Addr: net.TCPAddrFromAddrPort(s.local), Socket: *toSocketInfo(s.state, s.unread, s.unacked, &s.info), Retry: s.retry}
		c.Socket.Inode = s.inode
		_, ours := fillers.Load([2]string{c.Addr.String(), p.addr.String()})
		if closed := s.inode == 0 && halfClosed&(1<<s.state) != 0; !ours && !closed {
			clients = append(clients, c)
		}
	}
	return clients, nil
}

// The parts of include/uapi/linux/unix_diag.h that are used here.
const (
	unixShowPeer   = 4    // UDIAG_SHOW_PEER
	unixShowWaits  = 8    // UDIAG_SHOW_ICONS
	unixShowQueues = 0x10 // UDIAG_SHOW_RQLEN
	unixPeerInode  = 2    // UNIX_DIAG_PEER, an inode
	unixWaits      = 3    // UNIX_DIAG_ICONS, the inodes of those that wait in the accept queue
	unixQueues     = 4    // UNIX_DIAG_RQLEN, two lengths
	unixReply      = 16   // bytes of a unix_diag_msg, which the attributes follow
)

type unixDiagRequest struct {
	family, _           uint8
	_                   uint16
	states, inode, show uint32
	cookie              [2]uint32
}

// A unixSocket is what NETLINK_SOCK_DIAG tells of a unix socket.
type unixSocket struct {
	peer  uint64 // the inode of the other end; 0 if that is closed, or was not accepted
	read  int    // bytes that wait to be read; of a listener, connections that wait to be accepted
	held  int    // of these, the ones that their clients have not closed, where that was asked
	wrote int    // bytes, with what each costs the kernel, that the other end has not read
}

// diagUnix asks about the unix socket with this inode. If there is none, the error is ENOENT.
func diagUnix(inode uint64, show uint32) (unixSocket, error) {
	r := &unixDiagRequest{family: unix.AF_UNIX, states: inetDiagNoCookie, inode: uint32(inode),
		show: unixShowPeer | unixShowQueues | show, cookie: [2]uint32{inetDiagNoCookie, inetDiagNoCookie}}
	var s unixSocket
	note := func(b []byte) {
		eachAttribute(b[min(len(b), unixReply):], func(kind uint16, value []byte) {
			switch {
			case kind == unixPeerInode && len(value) >= 4:
				s.peer = uint64(binary.NativeEndian.Uint32(value))
			case kind == unixQueues && len(value) >= 8:
				s.read = int(binary.NativeEndian.Uint32(value))
				s.wrote = int(binary.NativeEndian.Uint32(value[4:]))
			case kind == unixWaits:
				for ; len(value) >= 4; value = value[4:] {
					if binary.NativeEndian.Uint32(value) != 0 {
						s.held++
					}
				}
			}
		})
	}
	err := askOnce(func(d *sockDiag) error { return d.ask(unix.SOCK_DIAG_BY_FAMILY, bytesOf(r), 0, note) })
	return s, err
}

// diagUnixFD asks about a unix socket that we have open.
func diagUnixFD(fd int, show uint32) (unixSocket, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return unixSocket{}, os.NewSyscallError("fstat", err)
	}
	return diagUnix(stat.Ino, show)
}

// queuedUnix returns how many connections wait in the listener's accept queue.
func queuedUnix(fd int) (int, error) {
	s, err := diagUnixFD(fd, 0)
	return s.read, err
}

// heldUnix returns how many of the connections in the listener's accept queue are open at their
// clients' end: all, where the kernel does not tell, as of a very long queue.
func heldUnix(fd int) (int, error) {
	s, err := diagUnixFD(fd, unixShowWaits)
	if err != nil {
		return queuedUnix(fd)
	}
	return s.held, nil
}
