package simnet_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"example.com/go-sockettest/simnet"
)

// udpConn is what *net.UDPConn and *simnet.PacketConn both are.
type udpConn interface {
	net.Conn
	net.PacketConn
	ReadFromUDP(b []byte) (int, *net.UDPAddr, error)
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP(b []byte, addr *net.UDPAddr) (int, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

var _, _ udpConn = (*net.UDPConn)(nil), (*simnet.PacketConn)(nil)

func (b bench) udp(nw, address string) udpConn { return must(b.packet(nw, address)).(udpConn) }

// udpPair is an unconnected socket, and one that is connected to it.
func (b bench) udpPair(nw, address string) (p, c udpConn) {
	p = b.udp(nw, address)
	return p, must(b.dial(nw, p.LocalAddr().String())).(udpConn)
}

var x = []byte("x")

func TestUDP(t *testing.T) {
	t.Parallel()
	eachRow(t, []row{
		{"a Read of nothing returns at once, and takes no datagram", func(b bench) {
			p, c := b.udpPair("udp4", "127.0.0.1:0")
			b.say(c.Read(nil))
			b.say(must(p.WriteTo(x, c.LocalAddr())))
			b.say(c.Read(nil))
			b.say(c.Read(make([]byte, 9)))
			b.say(c.Close())
			b.say(c.Read(nil))
		}},
		{"a write is too late or too large before it has no address", func(b bench) {
			p := b.udp("udp4", "127.0.0.1:0")
			b.say(p.Write(x))
			b.say(p.Write(make([]byte, 65508)))
			b.say(p.Write(make([]byte, 65536)))
			b.say(p.SetDeadline(time.Unix(1, 0)))
			b.say(p.Write(make([]byte, 65536)))
			b.say(p.Close())
			b.say(p.Write(x))
		}},
		{"a datagram is too large before another was refused", func(b bench) {
			p, c := b.udpPair("udp4", "127.0.0.1:"+b.free())
			b.say(p.Close())
			b.say(c.Write(x))
			b.say(c.Write(make([]byte, 65508)))
			b.say(c.Write(x))
		}},
		{"an address of the other family is not sent to", func(b bench) {
			for _, from := range [][2]string{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp6", "[::]:0"}, {"udp", "[::]:0"}} {
				p := b.udp(from[0], from[1])
				b.say(p.LocalAddr())
				for _, to := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", ""} {
					for _, port := range []int{p.LocalAddr().(*net.UDPAddr).Port, 0} {
						b.say(p.WriteTo(x, &net.UDPAddr{IP: net.ParseIP(to), Port: port}))
					}
				}
			}
		}},
		{"an IPv6 datagram may have 20 bytes more", func(b bench) {
			for _, a := range []string{"127.0.0.1", "::1"} {
				p := b.udp("udp", "[::]:0")
				to := &net.UDPAddr{IP: net.ParseIP(a), Port: p.LocalAddr().(*net.UDPAddr).Port}
				for _, n := range []int{65507, 65508, 65527, 65528} {
					b.say(p.WriteTo(make([]byte, n), to))
				}
			}
		}},
		{"each form of reading", func(b bench) {
			for _, a := range []string{"127.0.0.1:0", "[::]:0"} {
				p := b.udp("udp", a)
				c := must(b.dial("udp4", fmt.Sprintf("127.0.0.1:%d", p.LocalAddr().(*net.UDPAddr).Port)))
				buf := make([]byte, 1)
				for _, s := range []string{"a", "b", "c", "dd", "e", "ff"} {
					must(c.Write([]byte(s)))
				}
				b.say(p.ReadFrom(buf))
				b.say(p.ReadFromUDP(buf))
				b.say(p.ReadFromUDPAddrPort(buf))
				b.say(p.ReadMsgUDP(buf, nil))
				b.say(p.ReadMsgUDP(buf, nil))
				b.say(p.ReadMsgUDPAddrPort(buf, nil))
				b.say(string(buf))
				b.say(p.Close())
				b.say(p.ReadFromUDP(buf))
				b.say(p.ReadFromUDPAddrPort(buf))
				_, _, _, _, err := p.ReadMsgUDP(buf, nil)
				b.say(err)
			}
		}},
		{"each form of writing", func(b bench) {
			p, c := b.udpPair("udp4", "127.0.0.1:0")
			ap := p.LocalAddr().(*net.UDPAddr).AddrPort()
			to, bad := net.UDPAddrFromAddrPort(ap), &net.UDPAddr{IP: net.ParseIP("::1"), Port: 9}
			for _, s := range []udpConn{p, c} {
				b.say(s.WriteTo(x, to))
				b.say(s.WriteTo(x, (*net.UDPAddr)(nil)))
				b.say(s.WriteTo(x, nil))
				b.say(s.WriteTo(x, &net.TCPAddr{}))
				b.say(s.WriteToUDP(x, to))
				b.say(s.WriteToUDP(x, nil))
				b.say(s.WriteToUDP(x, bad))
				b.say(s.WriteToUDPAddrPort(x, ap))
				b.say(s.WriteToUDPAddrPort(x, netip.AddrPort{}))
				b.say(s.WriteToUDPAddrPort(x, bad.AddrPort()))
				b.say(s.WriteMsgUDP(x, nil, to))
				b.say(s.WriteMsgUDP(x, nil, nil))
				b.say(s.WriteMsgUDP(x, nil, bad))
				b.say(s.WriteMsgUDP(x, []byte("nonsense"), to))
				b.say(s.WriteMsgUDPAddrPort(x, nil, ap))
				b.say(s.WriteMsgUDPAddrPort(x, nil, netip.AddrPort{}))
				b.say(s.WriteMsgUDPAddrPort(x, nil, bad.AddrPort()))
			}
			b.say(p.SetReadBuffer(1 << 16))
			b.say(p.SetWriteBuffer(1 << 16))
			b.say(p.Close())
			b.say(p.SetReadBuffer(1 << 16))
			b.say(p.SetWriteBuffer(1 << 16))
			b.say(p.WriteToUDPAddrPort(x, ap))
			b.say(p.WriteMsgUDP(x, nil, to))
		}},
		{"SetReadBuffer says how many datagrams wait", func(b bench) {
			for _, r := range [][3]int{{1, 0, 2}, {1, 1000, 1}, {4096, 100, 9}, {4096, 1000, 3}, {65536, 0, 157}, {65536, 1000, 56}, {1 << 20, 100, 2520}, {1 << 20, 1000, 910}} {
				p, buf := b.udp("udp4", "127.0.0.1:0"), make([]byte, 1)
				b.say(p.SetReadBuffer(r[0]))
				for range r[2] + 10 {
					must(p.WriteTo(make([]byte, r[1]), p.LocalAddr()))
				}
				n := 0
				for ; buf[0] != 'x'; n++ {
					if n == r[2] {
						must(p.WriteTo(x, p.LocalAddr()))
					}
					_, _, err := p.ReadFrom(buf)
					must(0, err)
				}
				b.say(r, n)
			}
		}},
	})
}
