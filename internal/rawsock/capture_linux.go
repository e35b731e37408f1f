package rawsock

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// Capture calls f, in one goroutine, for each TCP segment and UDP datagram that passes over IPv4
// loopback, until stop is called. lost reports whether some did not fit in the kernel's queue since
// the last call. It needs CAP_NET_RAW; without it the error is the kernel's (packet(7)).
func Capture(f func(Packet)) (stop func(), lost func() bool, err error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, nil, err
	}
	const ipv4 = unix.ETH_P_IP>>8 | unix.ETH_P_IP<<8&0xff00 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ipv4)
	if err != nil {
		return nil, nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: lo.Index}))
	if err != nil {
		_ = unix.Close(fd)
		return nil, nil, err
	}
	over := make(chan struct{}) // closed by stop
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = unix.Close(fd) }()
		capture(fd, over, f)
	})
	lost = func() bool {
		s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		return err != nil || s.Drops > 0
	}
	return sync.OnceFunc(func() { close(over); wg.Wait() }), lost, nil
}

func capture(fd int, over <-chan struct{}, f func(Packet)) {
	for b := make([]byte, 256); ; {
		select {
		case <-over:
			return
		default:
		}
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err != nil { // the timeout, or EINTR
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue // each passes twice
		}
		if p, ok := parsePacket(b[:n]); ok {
			f(p)
		}
	}
}

// parsePacket reads the headers of IPv4 and of TCP or UDP.
func parsePacket(b []byte) (Packet, bool) {
	if len(b) < 20 || len(b) < int(b[0]&15)*4+8 {
		return Packet{}, false
	}
	total, h := int(binary.BigEndian.Uint16(b[2:])), int(b[0]&15)*4
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	p := Packet{
		From: netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[h:])),
		To:   netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[h+2:])),
	}
	switch {
	case b[9] == unix.IPPROTO_UDP:
		p.UDP, p.Bytes = true, total-h-8
	case b[9] == unix.IPPROTO_TCP && len(b) >= h+20:
		flags := b[h+13]
		p.FIN, p.SYN, p.RST, p.ACK = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&16 != 0
		p.Bytes = total - h - int(b[h+12]>>4)*4
	default:
		return Packet{}, false
	}
	return p, true
}
