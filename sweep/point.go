package sweep

import (
	"fmt"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
)

// A Fault is what happens at a byte.
type Fault struct {
	Name string // as reports and subtests name it
	Do   fixtures.Effect
}

// DefaultFaults are what Run tries at each byte: reset and fin, which end the connection; silence,
// after which what waited arrives late, and silence-reset, after which the connection is reset; and
// cut, the cable that is pulled. After which means once [Case.Recovers] is called: without it the
// two silences are the same, and the second is left out.
func DefaultFaults() []Fault {
	return []Fault{
		{"reset", fixtures.SendRST()},
		{"fin", fixtures.SendFIN()},
		{"silence", fixtures.Mute(fixtures.Open)},
		{silenceReset, fixtures.Mute(fixtures.RST)},
		{"cut", fixtures.PartitionFor(0)},
	}
}

const silenceReset = "silence-reset"

// The places of a conversation.
const (
	connecting = "connect"
	requesting = "request"
	answering  = "answer"
)

// A point is one thing that goes wrong.
type point struct {
	conn  int    // the number of the connection
	place string // connecting, requesting or answering
	at    int    // the byte that does not pass any more
	fault string
	arm   func(ep *fixtures.Endpoint, relay fixtures.Fixture) (undo func())
}

// name is that of a subtest.
func (p point) name() string {
	if p.place == "" {
		return "good"
	}
	var b strings.Builder
	if p.conn > 1 {
		fmt.Fprintf(&b, "conn_%d/", p.conn)
	}
	b.WriteString(p.place)
	if p.place != connecting {
		fmt.Fprintf(&b, "/byte_%d", p.at)
	}
	b.WriteString("/" + p.fault)
	return b.String()
}

// series names the points that differ in their byte alone.
func (p point) series() string { return fmt.Sprintf("%d/%s/%s", p.conn, p.place, p.fault) }

// points lists what can go wrong in the good conversation.
func (s *sweep) points() []point {
	var list []point
	for i, conn := range s.good.conns {
		list = append(list, connects(i+1)...)
		list = append(list, s.bytes(i+1, requesting, len(conn.request))...)
		list = append(list, s.bytes(i+1, answering, len(conn.answer))...)
	}
	return list
}

// bytes are the points of one direction: before each byte, and behind the last.
func (s *sweep) bytes(conn int, place string, size int) []point {
	var list []point
	for at := range size + 1 {
		for _, f := range s.cfg.Faults {
			if f.Name == silenceReset && !s.good.recovers {
				continue
			}
			r := fixtures.Rule{Conn: conn, Do: f.Do}
			switch {
			case at == 0 && place == requesting:
				r.Nth = 1
			case at == 0:
				r.Way, r.Nth = fixtures.Out, 1
			case place == requesting:
				r.AfterRead = at
			default:
				r.AfterWritten = at
			}
			if at == 0 && size == 0 { // nothing is to pass
				continue
			}
			list = append(list, point{conn: conn, place: place, at: at, fault: f.Name, arm: armed(r)})
		}
	}
	return list
}

func armed(r fixtures.Rule) func(*fixtures.Endpoint, fixtures.Fixture) func() {
	return func(ep *fixtures.Endpoint, _ fixtures.Fixture) func() { return ep.Arm(r) }
}

// slow is how long a slow connect takes.
const slow = 1370 * time.Millisecond

// connects are the points of a connect, and of those after it.
func connects(conn int) []point {
	become := func(name string, f func(relay fixtures.Fixture) fixtures.Fixture) point {
		return point{conn: conn, place: connecting, fault: name, arm: func(ep *fixtures.Endpoint, relay fixtures.Fixture) func() {
			now := func() { _ = ep.Become(f(relay)) } // on simnet that cannot fail
			undo := func() { _ = ep.Become(relay) }
			if conn == 1 {
				now()
				return undo
			}
			disarm := ep.Arm(fixtures.Rule{Conn: conn - 1, Do: fixtures.Call(func(*fixtures.Conn) { now() })})
			return func() { disarm(); undo() }
		}}
	}
	return []point{
		become("refused", func(fixtures.Fixture) fixtures.Fixture { return fixtures.Refused{} }),
		become("black-hole", func(fixtures.Fixture) fixtures.Fixture { return fixtures.BlackHole{} }),
		become("slow", func(relay fixtures.Fixture) fixtures.Fixture {
			return fixtures.SlowHandshake{Delay: slow, Then: relay}
		}),
		{conn: conn, place: connecting, fault: "reset", arm: armed(fixtures.Rule{Conn: conn, Do: fixtures.SendRST()})},
	}
}
