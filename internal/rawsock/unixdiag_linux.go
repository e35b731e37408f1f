package rawsock

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of include/uapi/linux/unix_diag.h that are used here.
const (
	unixShowPeer   = 4    // UDIAG_SHOW_PEER
	unixShowQueues = 0x10 // UDIAG_SHOW_RQLEN
	unixPeerInode  = 2    // UNIX_DIAG_PEER, an inode
	unixQueues     = 4    // UNIX_DIAG_RQLEN, two lengths
	unixReply      = 16   // bytes of a unix_diag_msg, which the attributes follow
)

type unixDiagRequest struct {
	family, protocol    uint8
	_                   uint16
	states, inode, show uint32
	cookie              [2]uint32
}

// A unixSocket is what NETLINK_SOCK_DIAG tells of a unix socket.
type unixSocket struct {
	peer  uint64 // the inode of the other end; 0 if that is closed, or was not accepted
	read  int    // bytes that wait to be read; of a listener, connections that wait to be accepted
	wrote int    // bytes, with what each costs the kernel, that the other end has not read
}

// diagUnix asks about the socket with this inode; without one, the error is ENOENT.
func diagUnix(inode uint64) (unixSocket, error) {
	r := &unixDiagRequest{family: unix.AF_UNIX, states: inetDiagNoCookie, inode: uint32(inode),
		show: unixShowPeer | unixShowQueues, cookie: [2]uint32{inetDiagNoCookie, inetDiagNoCookie}}
	var s unixSocket
	note := func(b []byte) {
		eachAttribute(b[min(len(b), unixReply):], func(kind uint16, value []byte) {
			switch {
			case kind == unixPeerInode && len(value) >= 4:
				s.peer = uint64(binary.NativeEndian.Uint32(value))
			case kind == unixQueues && len(value) >= 8:
				s.read = int(binary.NativeEndian.Uint32(value))
				s.wrote = int(binary.NativeEndian.Uint32(value[4:]))
			}
		})
	}
	request := unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
	err := askOnce(func(d *sockDiag) error { return d.ask(request, 0, note) })
	return s, err
}

// diagUnixFD asks about an open one.
func diagUnixFD(fd int) (unixSocket, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return unixSocket{}, os.NewSyscallError("fstat", err)
	}
	return diagUnix(stat.Ino)
}

// queuedUnix returns how many connections wait in the listener's accept queue.
func queuedUnix(fd int) (int, error) {
	s, err := diagUnixFD(fd)
	return s.read, err
}
