package conformance

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/network"
)

// A udpConn is what *net.UDPConn is.
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
}

// maxSockets is how many a program opens.
const maxSockets = 5

// datagramSizes are those that are sent. More than one of the largest does not fit a queue.
var datagramSizes = [...]int{0, 1, 5, 1000, 65507, 65508, 65527, 65528}

// A udpRun is a random program of UDP sockets. Whether a call would wait is known from what was
// sent before: a datagram on loopback has arrived when its Write returns.
type udpRun struct {
	run     // for its names
	random  *rand.Rand
	t       *testing.T
	sockets []*udpSocket
	steps   []string
}

// A udpSocket is one, and what is known of it.
type udpSocket struct {
	udpConn
	at, to  netip.AddrPort // its own address and, if it is connected, the other
	waiting int            // datagrams
	large   bool           // among them
	refused bool           // an error waits
	past    bool           // its deadline
	closed  bool
}

// Datagrams fails if the random program of the seed observes anything else in one of the worlds
// than in truth.
func Datagrams(t *testing.T, seed uint64, truth World, others ...World) {
	t.Helper()
	truth.NoIPv6 = truth.NoIPv6 || slices.ContainsFunc(others, func(w World) bool { return w.NoIPv6 })
	want := udpTrace(t, seed, truth)
	for _, w := range others {
		w.NoIPv6 = truth.NoIPv6 // one program for all
		got := udpTrace(t, seed, w)
		for i := range want {
			if i == len(got) || want[i] != got[i] {
				t.Errorf("after\n%s\n%s: %s\n%s: %s\nseed %d", strings.Join(want[:i], "\n"), truth.Name, want[i], w.Name, slices.Concat(got, []string{"nothing"})[i], seed)
				return
			}
		}
	}
}

func udpTrace(t *testing.T, seed uint64, w World) []string {
	t.Helper()
	var r *udpRun
	w.run(t, func(t *testing.T, s network.Stack) {
		r = &udpRun{run: run{ctx: t.Context(), world: w, stack: s, names: []string{w.host(), "host"}}, t: t, random: rand.New(rand.NewPCG(seed, 0xda7a))}
		defer func() {
			for _, s := range r.sockets {
				_ = s.Close()
			}
		}()
		for range 4 + r.random.IntN(maxSteps) {
			r.udpStep()
		}
	})
	return r.steps
}

// say notes what a call gave.
func (r *udpRun) say(call string, values ...any) {
	for i, v := range values {
		switch v := v.(type) {
		case error:
			values[i] = r.identity(v)
		case nil:
			values[i] = "nil"
		}
	}
	r.steps = append(r.steps, r.named(call+": "+strings.TrimSpace(fmt.Sprintln(values...))))
}

// udpStep makes one call.
func (r *udpRun) udpStep() {
	if len(r.sockets) == 0 || len(r.sockets) < maxSockets && r.random.IntN(5) == 0 {
		r.open()
		return
	}
	i := r.random.IntN(len(r.sockets))
	s, other := r.sockets[i], r.sockets[r.random.IntN(len(r.sockets))]
	switch r.random.IntN(12) {
	case 0:
		r.say(fmt.Sprintf("s%d.Close()", i), s.Close())
		s.closed = true
	case 1:
		past := r.random.IntN(2) == 0
		at := time.Time{}
		if past {
			at = instant(0)
		}
		err := s.SetDeadline(at)
		s.past = past && err == nil || s.past && err != nil
		r.say(fmt.Sprintf("s%d.SetDeadline(past: %t)", i, past), err)
	case 2, 3, 4, 5, 6:
		r.receive(i, s)
	default:
		r.send(i, s, other)
	}
}

// open binds a socket, or connects one to another.
func (r *udpRun) open() {
	host := netip.MustParseAddr(r.world.host())
	binds := []struct{ nw, address string }{{"udp4", net.JoinHostPort(host.String(), "0")}, {"udp6", "[::1]:0"}, {"udp", "[::]:0"}}
	if r.world.NoIPv6 {
		binds = binds[:1]
	}
	kind, target := r.random.IntN(2*len(binds)), r.random.IntN(max(1, len(r.sockets)))
	s, call := &udpSocket{}, ""
	open := func() (any, error) { return r.stack.DialContext(r.ctx, "udp", s.to.String()) }
	if kind < len(binds) || len(r.sockets) == 0 {
		b := binds[kind%len(binds)]
		call = fmt.Sprintf("s%d = ListenPacket(%q, %q)", len(r.sockets), b.nw, b.address)
		open = func() (any, error) { return r.stack.ListenPacket(r.ctx, b.nw, b.address) }
	} else {
		of := r.sockets[target]
		if of.closed {
			return // its port may be another's
		}
		if s.to = of.at; s.to.Addr().IsUnspecified() {
			s.to = netip.AddrPortFrom([]netip.Addr{host, netip.IPv6Loopback()}[r.random.IntN(2)], of.at.Port())
		}
		call = fmt.Sprintf("s%d = Dial(\"udp\", %q)", len(r.sockets), s.to)
	}
	for again := true; again; { // a port that another has had would have its name
		c, err := open()
		if err != nil {
			r.say(call, err)
			return
		}
		s.udpConn = c.(udpConn)
		s.at = s.LocalAddr().(*net.UDPAddr).AddrPort()
		s.at = netip.AddrPortFrom(s.at.Addr().Unmap(), s.at.Port())
		if again = slices.ContainsFunc(r.sockets, func(o *udpSocket) bool { return o.at.Port() == s.at.Port() }); again {
			_ = s.Close()
		}
	}
	r.names = append(r.names, fmt.Sprint(":", s.at.Port()), fmt.Sprintf(":s%d", len(r.sockets)))
	r.sockets = append(r.sockets, s)
	r.say(call, s.LocalAddr(), s.RemoteAddr())
}

// send sends from one socket to another, in one of the forms that there are.
func (r *udpRun) send(i int, s, other *udpSocket) {
	b := make([]byte, datagramSizes[r.random.IntN(len(datagramSizes))])
	ip := []netip.Addr{netip.MustParseAddr(r.world.host()), netip.IPv6Loopback()}[r.random.IntN(2)]
	if r.random.IntN(3) > 0 && !other.at.Addr().IsUnspecified() {
		ip = other.at.Addr()
	}
	to, form := netip.AddrPortFrom(ip, other.at.Port()), r.random.IntN(7)
	if r.random.IntN(12) == 0 {
		to = netip.AddrPortFrom(ip, 0)
	}
	if form == 0 || s.to.IsValid() {
		to = s.to
	}
	receiver := r.receiver(s, to)
	switch {
	case receiver == nil && to.IsValid() && to.Port() > 0 && to.Addr().Is6(), receiver == nil && r.everWild(to.Port()):
		return // the port may be another's
	case receiver != nil && (receiver.large || len(b) > 1000 && receiver.waiting > 0):
		return // it may not fit
	}
	n, err := sendBy(form, s, b, to)
	r.say(fmt.Sprintf("s%d: send %d B to %v by form %d", i, len(b), to, form), n, err)
	switch {
	case err != nil:
		s.refused = s.refused && !refusedOrReset(err)
	case receiver != nil:
		receiver.waiting++
		receiver.large = len(b) > 1000
	case s.to.IsValid():
		s.refused = true
	}
}

// sendBy writes in one form. What is connected can only use those that name no address.
func sendBy(form int, s *udpSocket, b []byte, to netip.AddrPort) (n int, err error) {
	addr := net.UDPAddrFromAddrPort(to)
	switch form {
	case 0:
		return s.Write(b)
	case 1:
		return s.WriteTo(b, addr)
	case 2:
		return s.WriteToUDP(b, addr)
	case 3:
		return s.WriteToUDPAddrPort(b, to)
	case 4:
		n, _, err = s.WriteMsgUDP(b, nil, addr)
	case 5:
		n, _, err = s.WriteMsgUDPAddrPort(b, nil, to)
	default:
		n, _, err = s.WriteMsgUDP(b, nil, nil)
	}
	return n, err
}

// receiver returns the socket that takes what s sends to an address; nil if there is none.
func (r *udpRun) receiver(s *udpSocket, to netip.AddrPort) *udpSocket {
	from := netip.AddrPortFrom(s.at.Addr(), s.at.Port())
	if from.Addr().IsUnspecified() {
		from = netip.AddrPortFrom(to.Addr(), from.Port()) // of one machine
	}
	for _, o := range r.sockets {
		if !o.closed && o.at.Port() == to.Port() && (o.at.Addr() == to.Addr() || o.at.Addr().IsUnspecified()) && (!o.to.IsValid() || o.to == from) {
			return o
		}
	}
	return nil
}

// everWild reports whether a socket at all addresses had the port.
func (r *udpRun) everWild(port uint16) bool {
	return slices.ContainsFunc(r.sockets, func(s *udpSocket) bool { return s.at.Port() == port && s.at.Addr().IsUnspecified() })
}

// receive reads in one of the forms that there are, unless the call would wait.
func (r *udpRun) receive(i int, s *udpSocket) {
	form, b := r.random.IntN(7), make([]byte, []int{1, 64, 1 << 16}[r.random.IntN(3)])
	if form == 0 {
		b = nil
	} else if s.waiting == 0 && !s.refused && !s.past && !s.closed {
		return
	}
	var n, flags int
	var from any
	var err error
	switch form {
	case 0, 1:
		n, err = s.Read(b)
	case 2:
		n, from, err = s.ReadFrom(b)
	case 3:
		n, from, err = s.ReadFromUDP(b)
	case 4:
		n, from, err = s.ReadFromUDPAddrPort(b)
	case 5:
		n, _, flags, from, err = s.ReadMsgUDP(b, nil)
	default:
		n, _, flags, from, err = s.ReadMsgUDPAddrPort(b, nil)
	}
	if err != nil {
		n, from = 0, nil // what package net leaves there beside an error (-1, [::]:0), nobody reads
	}
	r.say(fmt.Sprintf("s%d: receive up to %d B by form %d", i, len(b), form), n, flags, fmt.Sprint(from), err)
	switch {
	case err == nil && form > 0:
		s.waiting, s.large = s.waiting-1, false
	case refusedOrReset(err):
		s.refused = false
	}
}
