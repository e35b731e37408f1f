package sockettest

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/patience"
)

const (
	// signPatience is how long a sign of the operation may take to be seen, before the fixture is
	// said not to have been reached, or its fault not to have fired: the kernel hands over a
	// connection after the connect that made it has returned.
	signPatience = 300 * time.Millisecond
	// quietPatience is the same where nothing is wanted, so that it is waited for each time.
	quietPatience = 20 * time.Millisecond
	signTick      = time.Millisecond
)

// A reach is what can be told of whether an operation reached its fixture.
type reach struct {
	looked bool
	seen   fixtures.Contact
	own    bool   // its error names the fixture's address
	other  string // its error names this address, and not the fixture's
}

// A reached is the answer.
type reached int

const (
	didReach   reached = iota // it was seen, or the error names the fixture
	notVisible                // it may have, without a trace
	didNot
)

// reachOf looks what has come of an operation that ended with err, or has not ended.
func (w Window) reachOf(err error, look func() fixtures.Contact) reach {
	limit := signPatience
	if w.missed {
		limit = quietPatience
	}
	r := reach{looked: true, seen: look()}
	for r.own, r.other = addressesNamed(err, r.seen); limit > 0 && r.mayCome(w.missed); r.seen = look() {
		limit -= pauseForSigns(r.seen.Kernel)
	}
	return r
}

// judgeReach finds fault with what has come of an operation, if the want does.
func (w Window) judgeReach(res *Result, look func() fixtures.Contact) error {
	if !res.reach.looked { // else that was before it was released, which may have ended a connection
		res.reach = w.reachOf(res.Err, look)
	}
	switch answer := res.reach.answer(); {
	case w.missed:
		return res.reach.unreached()
	case answer == didNot:
		return errors.New("the fixture was " + res.reach.text())
	case answer == notVisible:
		res.Note = res.reach.note()
	}
	return nil
}

// mayCome reports whether a sign that has not been seen yet would make a difference.
func (r reach) mayCome(unwanted bool) bool {
	return !r.seen.Came && !r.seen.Exact && (unwanted || r.answer() == didNot)
}

// pauseForSigns lets whoever is about to see something run. In a bubble that takes a nanosecond of
// its time, unless the fixture is on the kernel's network: there the clock may stand still.
func pauseForSigns(kernel bool) time.Duration {
	switch bubble := virtual(); {
	case !bubble:
		<-time.NewTimer(signTick).C
	case !kernel:
		<-time.NewTimer(1).C
	}
	patience.QueueUp()
	return signTick
}

// answer weighs what was seen. What came counts most; then what the error names, except on a
// network that has missed nothing: there the same address was dialled on another.
func (r reach) answer() reached {
	switch s := r.seen; {
	case s.Came, s.Served, r.own && (!s.Exact || s.Waiting):
		return didReach
	case r.other != "":
		return didNot
	case !r.own && (s.Hidden || s.Waiting):
		return notVisible
	}
	return didNot
}

// unreached is what is wrong if nothing should have come.
func (r reach) unreached() error {
	switch {
	case r.seen.Came:
		return errors.New("the fixture was reached, want an operation that does not reach it")
	case r.seen.Hidden:
		return errors.New("contact not visible, and Unreached wanted: the network does not show all that comes to this fixture;" +
			" want a fixture that listens, such as fixtures.Reset{}, or simnet")
	}
	return nil
}

// note is what a result says if contact is not visible.
func (r reach) note() string {
	if r.seen.Hidden {
		return "contact not visible: the network shows no connect that is refused here, and the error names no address"
	}
	return "contact not visible: a connection was open before, on which the operation may just have waited"
}

// text says in one line why the fixture is not said to have been reached.
func (r reach) text() string {
	s := r.seen
	switch answer := r.answer(); {
	case !r.looked:
		return ""
	case answer == notVisible:
		return strings.TrimPrefix(r.note(), "contact ")
	case answer == didNot:
		text := "never reached: saw no " + s.Signs
		switch {
		case r.own:
			text += "; the error names its address, but on another network"
		case r.other != "":
			text += "; the error names " + r.other
		}
		return text
	}
	return ""
}

// mostErrors is how many errors of a tree are asked for addresses.
const mostErrors = 1000

// addressesNamed finds the addresses in an error: whether one is the fixture's and, if not, the
// first of another.
func addressesNamed(err error, s fixtures.Contact) (own bool, other string) {
	defer func() { _ = recover() }() // an error that panics names nothing
	left := mostErrors
	var walk func(error)
	walk = func(err error) {
		if left--; left < 0 || argument.IsNil(err) {
			return
		}
		for i, addr := range addressesOf(err, s.Asked) {
			switch {
			case addr == "":
			case names(s, addr):
				own = true
			case i == 0 && other == "":
				other = addr
			}
		}
		for _, inner := range unwrap(err) {
			walk(inner)
		}
	}
	walk(err)
	return own, other
}

// addressesOf returns the addresses in one error: first the one that was dialled or asked for, then
// those that can be nothing but the fixture's. What a lookup fails with names no address of a name
// server: package net tells the one in resolv.conf.
func addressesOf(err error, asked bool) []string {
	switch e := err.(type) {
	case *net.OpError:
		return []string{textOf(e.Addr), textOf(e.Source)}
	case *net.AddrError:
		return []string{e.Addr}
	case *net.DNSError:
		if asked {
			return []string{"", e.Server}
		}
		return []string{e.Name, e.Server}
	}
	return nil
}

// names reports whether an address in an error is the fixture's.
func names(s fixtures.Contact, addr string) bool {
	return slices.ContainsFunc(s.Addrs, func(own string) bool { return same(own, addr) })
}

// same compares two addresses. One without an IP address is any; a name is the same with and
// without a port.
func same(own, addr string) bool {
	if own == addr || own == hostOf(addr) {
		return true
	}
	a, err1 := netip.ParseAddrPort(own)
	b, err2 := netip.ParseAddrPort(addr)
	if err1 != nil || err2 != nil || a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}

// hostOf takes off the port and the final dot.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	return strings.TrimSuffix(addr, ".")
}

func textOf(a net.Addr) string {
	if argument.IsNil(a) {
		return ""
	}
	return a.String()
}

// networkHint is for who has mixed up two networks.
func (f failure) networkHint() string {
	s := f.result.reach.seen
	switch {
	case !f.result.reach.looked:
	case s.Kernel && virtual():
		return "the fixture is on the kernel's network, where the clock of this bubble (testing/synctest) stands still;" +
			" want Start(t, f, sockettest.On(simnet.New(t))), and code that dials by the DialContext of what Start returns"
	case !s.Kernel && f.result.reach.answer() == didNot:
		return "the fixture is on a simulated network, where nothing came; want code that dials by the DialContext of what Start" +
			" returns, or of the network"
	}
	return ""
}

// uses holds, for each fixture that a test runs, whether an Expect has used it.
var uses sync.Map // Running to *atomic.Bool

// noteUse logs, at the end of a test that did not fail, that it has neither used nor reached the
// fixture.
func noteUse(t testing.TB, ep Running) {
	used, look := new(atomic.Bool), ep.WatchContact()
	uses.Store(ep, used)
	t.Cleanup(func() {
		uses.Delete(ep)
		if used.Load() || t.Failed() || t.Skipped() {
			return
		}
		if s := look(); !s.Came && !s.Waiting && !s.Hidden {
			t.Helper()
			t.Logf("sockettest: %v was never used in an Expect, and never reached: saw no %s", ep, s.Signs)
		}
	})
}

// isKey reports whether a map can have it as a key.
func isKey(ep Running) bool {
	return reflect.TypeOf(ep).Kind() == reflect.Pointer || reflect.ValueOf(ep).Comparable()
}

// use begins to look what an operation does to the fixture.
func use(t testing.TB, ep Running) (look func() fixtures.Contact) {
	if isKey(ep) {
		if used, ok := uses.Load(ep); ok {
			used.(*atomic.Bool).Store(true)
		}
	}
	return fakeDials.watch(t, ep.WatchContact())
}
