package rawsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/network"
)

// tcpStates are RFC 9293's names by number (include/net/tcp_states.h).
var tcpStates = [...]string{
	1: "ESTABLISHED", 2: "SYN-SENT", 3: "SYN-RECEIVED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT", 7: "CLOSED",
	8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN-RECEIVED",
}

func tcpState(n uint8) string {
	if int(n) < len(tcpStates) && tcpStates[n] != "" {
		return tcpStates[n]
	}
	return fmt.Sprintf("state %d", n)
}

// connInfo asks our socket, and for the other end the kernel by the two addresses.
func connInfo(c *net.TCPConn) (network.ConnInfo, error) {
	var info network.ConnInfo
	err := control(c, func(fd int) (err error) {
		info.Own, err = socketInfo(fd)
		return err
	})
	if err != nil {
		return network.ConnInfo{}, err
	}
	other, err := diagOne(literal(c.RemoteAddr().(*net.TCPAddr)), literal(c.LocalAddr().(*net.TCPAddr)))
	switch {
	case errors.Is(err, unix.ENOENT):
		return info, diagAnswers()
	case err != nil:
		return info, unsupported("the other end of a connection is not shown", err)
	}
	info.Other = toSocketInfo(other.state, other.unread, other.unacked, &other.info)
	info.Other.Inode = other.inode
	// A socket has its inode from accept(2) on, and until it is closed; by then it has sent FIN.
	info.Other.Queued = other.inode == 0 && (other.state == tcpEstablished || other.state == tcpCloseWait)
	return info, nil
}

// diagAnswers tells whether sock_diag answers at all: without the kernel's tcp_diag it says ENOENT to every question. It
// is asked once per process: the answer goes through all sockets of the machine.
var diagAnswers = sync.OnceValue(func() error {
	r := newDiagRequest(false)
	r.states = 1 << tcpSynSent
	err := askOnce(func(d *sockDiag) error { _, err := d.sockets(r, unix.NLM_F_DUMP); return err })
	if err != nil {
		return unsupported("the other end of a connection is not shown", err)
	}
	return nil
})

func socketInfo(fd int) (network.SocketInfo, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("getsockopt", err)
	}
	unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("ioctl", err)
	}
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return network.SocketInfo{}, os.NewSyscallError("ioctl", err)
	}
	return *toSocketInfo(info.State, unread, unacked, info), nil
}

func toSocketInfo(state uint8, unread, unacked int, info *unix.TCPInfo) *network.SocketInfo {
	return &network.SocketInfo{
		State: tcpState(state), Unread: unread, Unacked: withoutMark(state, unacked), Retransmits: int(info.Total_retrans),
		RTO:        time.Duration(info.Rto) * time.Microsecond,
		SendWindow: int(info.Snd_wnd), ReceiveWindow: int(info.Rcv_wnd),
	}
}

// withoutMark takes off the SYN or FIN of ours that waits for its acknowledgement: each counts as a byte in a sequence
// number (RFC 9293, section 3.4).
func withoutMark(state uint8, unacked int) int {
	switch state {
	case tcpSynSent, tcpFinWait1, tcpClosing, tcpLastAck:
		return max(0, unacked-1)
	}
	return unacked
}
