package sockettest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/internal/patience"
	"example.com/go-sockettest/internal/story"
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
	looked  bool
	settled bool // all goroutines of fixtures were looked at, and none was on its way
	seen    fixtures.Contact
	own     bool   // its error names the fixture's address
	dialled bool   // its error is the timeout of a dial of that address, which may have sent no SYN
	maybe   string // its error names this address, by which the fixture may have been dialled
	other   string // its error names this address, and not the fixture's
}

// A reached is the answer.
type reached int

const (
	didReach   reached = iota // it was seen, or the error names the fixture
	notVisible                // it may have, without a trace
	didNot
)

// reachOf looks what has come of an operation that ended with err, or has not ended. It keeps off
// end, if that is not zero: what the report needs before the test's deadline.
func (w Window) reachOf(err error, look func() fixtures.Contact, end time.Time) reach {
	limit := signPatience
	if w.missed {
		limit = quietPatience
	}
	limit = grace(limit, end)
	last := time.Now().Add(limit) // the limit may be stretched as far as end, not beyond
	if last.Before(end) {
		last = end
	}
	r := reach{looked: true, seen: look()}
	r.readAddresses(err)
	h := hopeFor(limit, r.seen.Kernel)
	for r.mayCome(w.missed) && h.lasts() {
		r.seen = look()
		if !end.IsZero() && time.Now().After(last) {
			break
		}
	}
	r.settled = h.settled
	return r
}

// judgeReach finds fault with what has come of an operation, if the want does.
func (w Window) judgeReach(res *Result, look func() fixtures.Contact) error {
	if !res.reach.looked { // else that was before it was released, which may have ended a connection
		res.reach = w.reachOf(res.Err, look, time.Time{})
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

// lookAgain waits a moment for a sign, for a report that would else say that there is none: a
// datagram that was just sent has yet to be read.
func (r *reach) lookAgain(look func() fixtures.Contact) {
	for limit := quietPatience; limit > 0 && r.answer() == notVisible && !r.seen.Exact; r.seen = look() {
		limit -= pauseForSigns(r.seen.Kernel)
	}
}

// mayCome reports whether a sign that has not been seen yet would make a difference.
func (r reach) mayCome(unwanted bool) bool {
	return !r.seen.Came && !r.seen.Exact && (unwanted || r.dialled || r.answer() == didNot)
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

// A hope is the time in which a sign may still come: a number of ticks and then, at a fixture of
// the kernel, as long as a goroutine of a fixture is on its way. A thread that waits for a
// processor holds up the goroutine that it runs, while others count ticks.
type hope struct {
	ticks   time.Duration
	kernel  bool
	looks   int      // at all goroutines
	settled bool     // a look has found none of them
	onWay   []string // the fixtures' that had something to do at the second look, and have still
}

// mostLooks is for fixtures that are never done, such as one that sends without end.
const mostLooks = 50

func hopeFor(limit time.Duration, kernel bool) *hope { return &hope{ticks: limit, kernel: kernel} }

// lasts lets whoever is about to see something run, and reports whether it is worth looking again.
func (h *hope) lasts() bool {
	if h.ticks <= 0 {
		if !h.kernel || h.looks == mostLooks {
			return false
		}
		h.ticks = quietPatience
		if h.looks++; h.looks == 1 { // which polls the network, and wakes up whom something waited for
			runtime.ReadMemStats(new(runtime.MemStats))
			h.ticks = signTick
		} else if h.onWay = fixturesOnTheirWay(everyStack.now(), h.onWay); len(h.onWay) == 0 {
			h.settled = true
			return false
		}
	}
	h.ticks -= pauseForSigns(h.kernel)
	return true
}

// fixturesOnTheirWay returns the goroutines of fixtures that wait for nothing but a processor: of
// those named, and of those that they have started, if any are named.
func fixturesOnTheirWay(dump string, named []string) []string {
	var found []string
	for g := range strings.SplitSeq(dump, "\n\n") {
		switch stateOf(g) {
		case "running", "runnable", "syscall":
			id, _, _ := strings.Cut(g, " [")
			old := named == nil || slices.ContainsFunc(named, func(n string) bool { return n == id || strings.Contains(g, " in "+n+"\n") })
			if old && (stuck{frames: framesOf(g)}).ofFixture() {
				found = append(found, id)
			}
		}
	}
	return found
}

// answer weighs what was seen. What came counts most; then what the error names, except where
// nothing can have been missed: there it is the error of an earlier operation, or of one that
// dialled the same address on another network.
func (r reach) answer() reached {
	unseen := r.seen.Hidden || r.seen.Waiting || r.seen.Unsure
	switch {
	case r.seen.Came, r.seen.Served, r.own && unseen:
		return didReach
	case r.maybe != "" && unseen, r.dialled && !r.seen.Exact, r.seen.Unsure:
		return notVisible
	case r.own, r.other != "", !unseen:
		return didNot
	}
	return notVisible
}

// unreached is what is wrong if nothing should have come.
func (r reach) unreached() error {
	switch {
	case r.seen.Came:
		return errors.New("the fixture was reached, want an operation that does not reach it")
	case r.seen.Unsure:
		return errors.New("contact not visible, and Unreached wanted: a connect from before was given up, and may have sent the SYN" +
			" that came; want one that still hangs, or has ended before the operation, or simnet")
	case r.seen.Hidden:
		return errors.New("contact not visible, and Unreached wanted: the network does not show all that comes to this fixture, which" +
			" refuses connects, has changed, or has connections in its accept queue; want a fixture that listens and accepts, such as" +
			" fixtures.Reset{}, or simnet")
	}
	return nil
}

// note is what a result says if contact is not visible.
func (r reach) note() string {
	switch {
	case r.dialled:
		return "contact not visible: the error is that of a dial that timed out, and no SYN was seen"
	case r.seen.Unsure:
		return "contact not visible: a SYN came that a connect from before may have sent again, until it was given up"
	case r.maybe != "":
		return "contact not visible: the error names " + r.maybe + ", by which the fixture may have been dialled or not"
	case r.seen.Hidden:
		return "contact not visible: the network shows no connect that is refused here, nor what goes on in the accept queue," +
			" and the error names no address"
	}
	text := "contact not visible: a connection was open before, on which the operation may just have waited"
	if r.seen.Ended {
		text += "; all that was seen is that the client ended it"
	}
	return text
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
		if s.Ended {
			text += "; a connection from before was closed by the client, which is no use of the fixture"
		}
		switch {
		case r.own:
			text += "; the error names its address, but on another network, or from an earlier operation"
		case r.maybe+r.other != "":
			text += "; the error names " + cmp.Or(r.maybe, r.other)
			if owner := runningAt(cmp.Or(r.maybe, r.other)); s.Kernel && owner != nil {
				text += fmt.Sprintf(", which is that of %s", story.Printable(owner.String(), keepInner))
			}
		}
		return text
	}
	return ""
}

// mostErrors is how many errors of a tree are asked for addresses.
const mostErrors = 1000

// readAddresses finds the addresses in an error: whether one is the fixture's and, if not, the
// first that may be, and the first of another.
func (r *reach) readAddresses(err error) {
	defer func() { _ = recover() }() // an error that panics names nothing
	left := mostErrors
	var walk func(error)
	walk = func(err error) {
		if left--; left < 0 || argument.IsNil(err) {
			return
		}
		for i, addr := range addressesOf(err, r.seen.Asked) {
			switch {
			case addr == "":
			case anyOf(r.seen, addr, same):
				r.own, r.dialled = true, r.dialled || isDialTimeout(err)
			case i > 0:
			case anyOf(r.seen, addr, maybeSame):
				r.maybe = cmp.Or(r.maybe, addr)
			default:
				r.other = cmp.Or(r.other, addr)
			}
		}
		for _, inner := range unwrap(err) {
			walk(inner)
		}
	}
	walk(err)
}

// isDialTimeout reports whether an error is the timeout of a dial. A dial whose time is over before
// it begins, as on a machine that stalls, sends nothing.
func isDialTimeout(err error) bool {
	e, ok := err.(*net.OpError)
	return ok && e.Op == "dial" && e.Timeout()
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

// anyOf reports whether an address in an error is like one of the fixture's.
func anyOf(s fixtures.Contact, addr string, like func(own, addr string) bool) bool {
	return slices.ContainsFunc(s.Addrs, func(own string) bool { return like(own, addr) })
}

// same compares two addresses. One without an IP address is any; a name is the same with and
// without a port; and a file is the same by every path.
func same(own, addr string) bool {
	if own == addr || own == hostOf(addr) {
		return true
	}
	a, err1 := netip.ParseAddrPort(own)
	b, err2 := netip.ParseAddrPort(addr)
	if err1 != nil || err2 != nil {
		return strings.Contains(own, "/") && sameFile(own, addr)
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return a.Port() == b.Port() && (x == y || x.IsUnspecified() || y.IsUnspecified())
}

// sameFile compares the paths of two unix sockets. Where no socket is, it compares the directories.
func sameFile(own, addr string) bool {
	a, err1 := os.Stat(own)
	b, err2 := os.Stat(addr)
	if err1 != nil && err2 != nil && filepath.Base(own) == filepath.Base(addr) {
		a, err1 = os.Stat(filepath.Dir(own))
		b, err2 = os.Stat(filepath.Dir(addr))
	}
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// maybeSame reports whether a client that dialled the fixture by a name may name that address
// instead: the name, whose addresses are not known here, or another loopback address of it, since
// of a name's addresses [net.Dialer] names the first, whichever it has tried.
func maybeSame(own, addr string) bool {
	a, err := netip.ParseAddrPort(own)
	host, port, err2 := net.SplitHostPort(addr)
	if err != nil || err2 != nil || port != strconv.Itoa(int(a.Port())) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || ip.IsLoopback()
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
