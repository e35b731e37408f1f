package sockettest

import (
	"fmt"
	"strings"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
)

// keepSockets is how many connections a report shows the sockets of.
const keepSockets = 5

// socketsOf asks an endpoint for both ends of its connections, if it can tell.
func socketsOf(ep any) []fixtures.Sockets {
	if e, ok := ep.(interface{ Sockets() []fixtures.Sockets }); ok {
		return e.Sockets()
	}
	return nil
}

// sockets says what the kernel knows of the connections, as far as that says something: where bytes
// wait, what is sent again, and which end is closed.
func (f failure) sockets() []string {
	if f.result.busy.kind != waiting { // what is in flight changes all the time
		return nil
	}
	var lines []string
	idle := 0
	for _, s := range f.result.sockets {
		facts := f.facts(s)
		switch {
		case len(facts) == 0:
			idle++
		case len(lines) < keepSockets:
			name := "-"
			if s.Own != nil {
				name = fmt.Sprintf("#%d", s.Conn)
			}
			lines = append(lines, fmt.Sprintf("%-3s %s", name, strings.Join(facts, ", ")))
		}
	}
	if more := len(f.result.sockets) - idle - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("... %d more", more))
	}
	if idle > 0 && f.result.Outcome == Blocked { // else that is nothing to wonder about
		all := "all " + plural(idle, "connection")
		switch {
		case idle == 1 && len(f.result.sockets) == 1:
			all = fmt.Sprintf("#%d", f.result.sockets[0].Conn)
		case idle < len(f.result.sockets):
			all = plural(idle, "other")
		}
		lines = append(lines, all+" open at both ends, nothing in flight")
	}
	return lines
}

// facts are what is worth telling of one connection; none of one that is open and idle.
func (f failure) facts(s fixtures.Sockets) []string {
	if s.Own == nil && s.Other != nil && s.Other.State == "SYN-SENT" {
		facts := []string{"SYN sent, unanswered"}
		if n := s.Other.Retransmits; n > 0 {
			facts = append(facts, "sent again "+plural(n, "time"))
		}
		return facts
	}
	var facts []string
	switch {
	case s.Own == nil:
		facts = append(facts, "connected, and not accepted by the fixture")
	case s.Other == nil && f.result.Outcome == Blocked:
		facts = append(facts, "the "+f.tested+"'s socket is gone, or not shown")
	case s.Other != nil && s.Other.Queued:
		facts = append(facts, "in the accept queue of the "+f.tested+", which has not accepted it")
	}
	blocked := f.result.Outcome == Blocked // else one of them may be about to end
	facts = append(facts, half(s.Own, "fixture", f.tested, blocked)...)
	return append(facts, half(s.Other, f.tested, "fixture", blocked)...)
}

// half is what there is to tell of one end.
func half(e *network.SocketInfo, whose, others string, blocked bool) (facts []string) {
	if e == nil {
		return nil
	}
	if e.State != "ESTABLISHED" && blocked {
		facts = append(facts, "the "+whose+"'s socket is "+e.State)
	}
	if e.Unread > 0 {
		facts = append(facts, fmt.Sprintf("%s unread by the %s", amount(int64(e.Unread)), whose))
	}
	if e.Unacked > 0 {
		facts = append(facts, fmt.Sprintf("%s written by the %s and not acknowledged by the %s", amount(int64(e.Unacked)), whose, others))
	}
	if e.Retransmits > 0 && e.Unacked > 0 {
		facts = append(facts, fmt.Sprintf("the %s has sent again %s", whose, plural(e.Retransmits, "time")))
	}
	return facts
}
