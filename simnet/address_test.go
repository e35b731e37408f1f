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
			for _, l := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp", "0.0.0.0:0"}, {"tcp4", ":0"}, {"tcp6", ":0"}} {
				ln, err := b.listen(l[0], l[1])
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
						_, _ = s.Close(), c.Close()
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
						first, unbind, err := bind(protocol+family, a+"0")
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
			ln := must(b.listen("tcp", ":0"))
			for _, a := range wild {
				_, err := b.listen("tcp", a+port(ln.Addr()))
				b.say(err)
			}
		}},
		{"a client's address is taken", func(b bench) {
			ln := must(b.listen("tcp4", "127.0.0.1:0"))
			c := must(b.dial("tcp4", ln.Addr().String()))
			s := must(ln.Accept())
			for _, a := range wild {
				l, err := b.listen("tcp", a+port(c.LocalAddr()))
				b.say(err)
				if err == nil {
					_ = l.Close()
				}
			}
			_, _ = s.Close(), c.Close()
		}},
	})
}
