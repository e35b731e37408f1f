package simnet_test

import (
	"net"
	"strings"
	"testing"
)

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	wild := []string{"127.0.0.1:", "127.0.0.2:", "[::1]:", "0.0.0.0:", "[::]:", ":"}
	eachRow(t, []row{
		{"listen", func(b bench) {
			for _, nw := range []string{"tcp", "tcp4", "tcp6", "udp", "tcp7"} {
				for _, a := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", ":0", "", "127.255.255.255:0", "[::1%lo]:0",
					"[::ffff:127.0.0.1]:0", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "[::1]"} {
					ln, err := b.listen(nw, a)
					if err != nil {
						b.say(nw, a, err, "-", err.Error())
						continue
					}
					b.say(nw, a, ln.Addr(), ln.Close())
				}
			}
			_, err := b.listen("tcp4", "LOCALHOST:0")
			b.say(err)
		}},
		{"listen for packets", func(b bench) {
			for _, nw := range []string{"udp", "udp4", "udp6", "tcp", "udp7"} {
				for _, a := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", ":0", "", "[::1%lo]:0", "127.0.0.1"} {
					c, err := b.packet(nw, a)
					if err != nil {
						b.say(nw, a, err, "-", err.Error())
						continue
					}
					b.say(nw, a, c.LocalAddr(), c.Close())
				}
			}
		}},
		{"dial", func(b bench) {
			for _, l := range [][2]string{{"tcp", "127.0.0.1:"}, {"tcp", "[::1]:"}, {"tcp", "0.0.0.0:"}, {"tcp4", ":"}, {"tcp6", ":"}} {
				ln, err := b.listen(l[0], l[1]+b.free())
				b.say("listener", l, err)
				for _, nw := range []string{"tcp", "tcp4", "tcp6"} {
					for _, host := range []string{"127.0.0.1", "127.0.0.9", "[::1]", "0.0.0.0", "[::]", "", "[::1%lo]", "[::ffff:127.0.0.1]",
						"127.255.255.255", "224.0.0.1", "255.255.255.255"} {
						c, err := b.dial(nw, host+":"+port(ln.Addr()))
						if err != nil {
							b.say(nw, host, err)
							continue
						}
						s := must(ln.Accept())
						b.say(nw, host, c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
						_, _ = s.(tcpConn).SetLinger(0), s.Close()
						_ = c.Close()
					}
				}
				_ = ln.Close()
			}
			for _, nw := range []string{"tcp", "tcp6", "udp"} {
				for _, a := range []string{"", "127.0.0.1", "x:y:z", "[::1]", "127.0.0.1:", "127.0.0.1:70000"} {
					_, err := b.dial(nw, a)
					b.say(nw, a, err)
				}
			}
			_, err := b.dial("tcp4", "LOCALHOST:1")
			b.say(err)
		}},
		{"dial UDP", func(b bench) {
			for _, nw := range []string{"udp", "udp4", "udp6"} {
				for _, a := range []string{":9", "127.0.0.1:9", "[::1]:9", "0.0.0.0:9", "[::]:9", "127.255.255.255:9", "[::1%lo]:9"} {
					c, err := b.dial(nw, a)
					if err != nil {
						b.say(nw, a, err)
						continue
					}
					b.say(nw, a, c.LocalAddr(), c.RemoteAddr())
				}
			}
		}},
		{"dial from a local address", func(b bench) {
			to := b.free()
			ln := must(b.listen("tcp", "[::]:"+to))
			c := must(b.DialFrom(b.t.Context(), "tcp4", must(net.ResolveTCPAddr("tcp4", "127.0.0.1:"+b.free())), "127.0.0.1:"+to))
			b.t.Cleanup(func() { _, _ = c.(tcpConn).SetLinger(0), c.Close() })
			for _, from := range []string{"127.0.0.1:0", "127.0.0.5:0", "127.81.7.1:2111", "[::1]:0", ":0", "0.0.0.0:0", "[::]:0", "8.8.8.8:0", c.LocalAddr().String(), "127.0.0.1:" + to} {
				for _, nw := range []string{"tcp", "tcp6", "udp"} {
					for _, host := range []string{"127.0.0.1:", "[::1]:"} {
						local := net.Addr(must(net.ResolveTCPAddr("tcp", from)))
						if nw == "udp" {
							local = must(net.ResolveUDPAddr("udp", from))
						}
						c, err := b.DialFrom(b.t.Context(), nw, local, host+to)
						if err != nil {
							b.say(from, nw, host, err)
							continue
						}
						b.say(from, nw, host, c.LocalAddr(), c.RemoteAddr())
						if tcp, ok := c.(tcpConn); ok {
							_ = tcp.SetLinger(0)
						}
						_ = c.Close()
					}
				}
			}
			_, err := b.DialFrom(b.t.Context(), "tcp", &net.UDPAddr{}, "127.0.0.1:9")
			b.say(err)
			_ = ln.Close()
			_, err = b.DialFrom(b.t.Context(), "tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, "127.0.0.1:"+to)
			b.say(err)
		}},
		{"what is taken", func(b bench) {
			for _, protocol := range []string{"tcp", "udp"} {
				bind := func(nw, a string) (net.Addr, func() error, error) {
					if protocol == "tcp" {
						ln, err := b.listen(nw, a)
						if err != nil {
							return nil, nil, err
						}
						return ln.Addr(), ln.Close, nil
					}
					c, err := b.packet(nw, a)
					if err != nil {
						return nil, nil, err
					}
					return c.LocalAddr(), c.Close, nil
				}
				for _, family := range []string{"", "4", "6"} {
					for _, a := range wild {
						first, unbind, err := bind(protocol+family, a+b.free())
						if err != nil {
							continue
						}
						var taken strings.Builder
						for _, other := range []string{"", "4", "6"} {
							for _, a := range wild {
								_, unbind, err := bind(protocol+other, a+port(first))
								switch {
								case err == nil:
									_ = unbind()
								case strings.Contains(err.Error(), "in use"):
									taken.WriteString(" " + protocol + other + " " + a)
								}
							}
						}
						b.say(protocol+family, a, "takes", taken.String())
						_ = unbind()
					}
				}
			}
		}},
		{"what is taken, as an error", func(b bench) {
			ln := must(b.listen("tcp", ":"+b.free()))
			for _, a := range wild {
				_, err := b.listen("tcp", a+port(ln.Addr()))
				b.say(err)
			}
		}},
		{"a client's address is taken", func(b bench) {
			ln := must(b.listen("tcp4", "127.0.0.1:0"))
			c := must(b.DialFrom(b.t.Context(), "tcp4", must(net.ResolveTCPAddr("tcp4", "127.0.0.1:"+b.free())), ln.Addr().String()))
			s := must(ln.Accept())
			for _, a := range wild {
				l, err := b.listen("tcp", a+port(c.LocalAddr()))
				b.say(err)
				if err == nil {
					_ = l.Close()
				}
			}
			_, _ = s.(tcpConn).SetLinger(0), s.Close()
			_ = c.Close()
		}},
	})
}
