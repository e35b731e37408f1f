package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/network"
)

// patience is how long the kernel may take to come to rest before the program is given up: an error, never a result.
const patience = 30 * time.Second

// settle waits until nothing moves by itself any more, and hands each call that has returned to f. What has not returned
// then waits for a later call.
//
// In virtual time that is what [synctest.Wait] says. On the kernel no time is measured: what a call has sent has arrived
// when the other end's own TCP_INFO shows it (a byte is read or unread, a FIN has changed the state, a RST has closed),
// and a call waits if, with everything arrived, its own end has nothing to give it. Acknowledgements are not looked at:
// they may be delayed by 40 ms, and no call can tell.
func (r *run) settle(f func(*call)) error {
	if r.world.Virtual {
		synctest.Wait()
		r.reap(f)
		return nil
	}
	for begin := time.Now(); ; runtime.Gosched() {
		r.reap(f)
		why, err := r.moving()
		if err != nil || why == "" {
			return err
		}
		if time.Since(begin) > patience {
			return fmt.Errorf("not at rest after %v: %s", patience, why)
		}
	}
}

// reap takes the calls that have returned off the list, a Connect before an Accept that returned with it: whose
// connection it is, is known from the client's address.
func (r *run) reap(f func(*call)) {
	connecting := false
	for _, connects := range []bool{true, false} {
		r.pending = slices.DeleteFunc(r.pending, func(c *call) bool {
			if connects != (c.step.Op == Connect) || !c.returned() || connecting && c.step.Op == Accept {
				connecting = connecting || c.step.Op == Connect
				return false
			}
			r.note(c)
			f(c)
			return true
		})
	}
}

// moving says what is still on its way, if anything is.
func (r *run) moving() (string, error) {
	for _, c := range r.pending {
		if c.step.Op != Read && c.step.Op != Accept { // nothing else can wait
			return c.step.Go() + " has not returned", nil
		}
	}
	var seen [len(r.ends)]view
	for i, e := range r.ends {
		if e == nil {
			continue
		}
		v, err := look(e)
		if err != nil {
			return "", err
		}
		seen[i] = v
	}
	for i, e := range r.ends {
		if e == nil || !seen[i].visible {
			continue
		}
		if why := e.moving(seen[i].EndInfo, seen[i^1]); why != "" {
			return fmt.Sprintf("%s: %s (%v)", endName(i), why, seen[i].EndInfo), nil
		}
	}
	for _, c := range r.pending {
		if r.due(c, seen) {
			return c.step.Go() + " has not returned", nil
		}
	}
	return "", nil
}

// A view is what an end looks like from outside.
type view struct {
	network.EndInfo
	visible bool // open, or in the accept queue of a port with the other end open
}

// look asks the end itself, or its peer if nobody has accepted it yet. An end that is closed cannot be asked, and what
// happens to it nobody can observe.
func look(e *end) (view, error) {
	switch {
	case e.closed:
		return view{}, nil
	case e.conn != nil:
		info, err := own(e)
		return view{info, true}, err
	case e.peer.closed:
		return view{}, nil
	}
	info, err := e.peer.conn.Info()
	if err != nil {
		return view{}, fmt.Errorf("the peer of %v: %w", e.peer.address, err)
	}
	if info.Other == nil {
		return view{network.EndInfo{State: "SYN-RECEIVED"}, true}, nil // not there yet
	}
	return view{*info.Other, true}, nil
}

// own asks an end that is open. That the other one cannot be asked does not matter.
func own(e *end) (network.EndInfo, error) {
	info, err := e.conn.Info()
	if err != nil && info.Own.State == "" {
		return network.EndInfo{}, err
	}
	return info.Own, nil
}

func dead(i network.EndInfo) bool { return i.State == "CLOSED" || i.State == "TIME-WAIT" }

// ended: the other end's FIN or RST has arrived.
func ended(i network.EndInfo) bool {
	return dead(i) || i.State == "CLOSE-WAIT" || i.State == "LAST-ACK" || i.State == "CLOSING"
}

// moving says what this end, which looks like i, has still to receive, or to get an answer to.
func (e *end) moving(i network.EndInfo, peer view) string {
	p := e.peer
	switch {
	case dead(i):
		return ""
	case i.State == "SYN-RECEIVED" || i.State == "SYN-SENT":
		return "its handshake is not over"
	case p.rst:
		return "the other end's RST has not arrived"
	case p.fin && !ended(i):
		return "the other end's FIN has not arrived"
	case p.closed && e.lost:
		return "the RST for what it wrote to a closed end has not arrived"
	case e.fin && p.fin:
		return "both FINs are sent, and it is not closed yet"
	case peer.visible && dead(peer.EndInfo):
		return "the other end is dead, and it is not"
	case peer.visible && e.sent != p.received+peer.Unread:
		return fmt.Sprintf("of the %d bytes that it wrote, %d were read and %d are unread", e.sent, p.received, peer.Unread)
	}
	return ""
}

// due says whether a call that has not returned will do so by itself.
func (r *run) due(c *call, seen [2 * maxConnections]view) bool {
	switch c.step.Op {
	case Accept:
		return r.closed || len(r.queue) > 0
	case Read:
		e, i := c.end, seen[c.step.End]
		return e.closed || e.past || e.shut || c.step.N == 0 || i.Unread > 0 || ended(i.EndInfo)
	}
	return true
}
