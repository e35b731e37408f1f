package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/network"
)

// patience is how long the kernel may take to come to rest before the program is given up: an
// error, never a result.
const patience = 30 * time.Second

// settle waits until nothing moves by itself any more, and hands each call that has returned to f.
// What has not returned then waits for a later call.
//
// In virtual time that is what [synctest.Wait] says. On the kernel no time is measured: what a call
// has sent has arrived when the other end's own TCP_INFO shows it (a byte is read or unread, a FIN
// has changed the state, a RST has closed), and a call waits if, with everything arrived, its own
// end has nothing to give it. Acknowledgements are not looked at: they may be delayed by 40 ms, and
// no call can tell.
func (r *run) settle(f func(*call)) error {
	if r.world.Virtual {
		return r.settleVirtual(f)
	}
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		r.reap(f)
		why, due, err := r.moving()
		if err != nil || why == "" {
			return err
		}
		if due == nil {
			due = yielded
			runtime.Gosched()
		}
		select {
		case <-due:
		case <-over.C:
			return fmt.Errorf("not at rest after %v: %s", patience, why)
		}
	}
}

// settleVirtual gives what was sent in a partition time to be sent again.
func (r *run) settleVirtual(f func(*call)) error {
	for over := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		r.reap(f)
		why, _, err := r.moving()
		switch {
		case err != nil || why == "" || !r.healing:
			return err
		case time.Now().After(over):
			return fmt.Errorf("not at rest after %v: %s", patience, why)
		}
	}
}

// yielded is closed: who has no call to wait for looks again at once.
var yielded = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// reap takes the calls that have returned off the list, a Connect before an Accept that returned
// with it: whose connection it is, is known from the client's address.
func (r *run) reap(f func(*call)) {
	connecting := false
	for _, connects := range []bool{true, false} {
		r.pending = slices.DeleteFunc(r.pending, func(c *call) bool {
			if connects != (c.step.Op == Connect) || !c.returned() || connecting && c.step.Op == Accept {
				connecting = connecting || c.step.Op == Connect && !r.dropping
				return false
			}
			r.note(c)
			f(c)
			return true
		})
	}
}

// moving says what is still on its way, if anything is, and, if that is a call, what is closed when
// it returns.
func (r *run) moving() (why string, due <-chan struct{}, err error) {
	for _, c := range r.pending {
		if c.must || !r.canWait(c) {
			return c.step.Go() + " has not returned", c.done, nil
		}
	}
	if err := r.look(); err != nil {
		return "", nil, err
	}
	for i, e := range r.ends {
		if e == nil || !r.seen[i].visible {
			continue
		}
		if why := e.moving(r.seen[i].SocketInfo, r.seen[i^1]); why != "" {
			return fmt.Sprintf("%s: %s (%v)", endName(i), why, r.seen[i].SocketInfo), nil, nil
		}
	}
	for _, c := range r.pending {
		if r.due(c) {
			return c.step.Go() + " has not returned", c.done, nil
		}
	}
	return "", nil, nil
}

// A view is what an end looks like from outside.
type view struct {
	network.SocketInfo
	visible bool // open, or in the accept queue of a port with the other end open
}

// look sees all ends. One question is enough where the answer shows the other end too.
func (r *run) look() (err error) {
	clear(r.seen[:])
	for i, e := range r.ends {
		if e == nil || r.seen[i].visible {
			continue
		}
		var other *network.SocketInfo
		if r.seen[i], other, err = look(e); err != nil {
			return err
		}
		if p := r.ends[i^1]; other != nil && p != nil && !p.closed {
			r.seen[i^1] = view{*other, true}
		}
	}
	return nil
}

// look asks the end itself, or its peer if nobody has accepted it yet. An end that is closed cannot
// be asked, and what happens to it nobody can observe.
func look(e *end) (_ view, other *network.SocketInfo, err error) {
	switch {
	case e.closed:
		return view{}, nil, nil
	case e.conn != nil:
		info, err := own(e)
		return view{info.Own, true}, info.Other, err
	case e.peer.closed:
		return view{}, nil, nil
	}
	info, err := e.peer.conn.Info()
	if err != nil {
		return view{}, nil, fmt.Errorf("the peer of %v: %w", e.peer.address, err)
	}
	if info.Other == nil {
		return view{network.SocketInfo{State: "SYN-RECEIVED"}, true}, nil, nil // not there yet
	}
	return view{*info.Other, true}, nil, nil
}

// own asks an end that is open. That the other one cannot be asked does not matter.
func own(e *end) (network.ConnInfo, error) {
	info, err := e.conn.Info()
	if err != nil && info.Own.State == "" {
		return network.ConnInfo{}, err
	}
	return info, nil
}

func dead(i network.SocketInfo) bool { return i.State == "CLOSED" || i.State == "TIME-WAIT" }

// ended: the other end's FIN or RST has arrived.
func ended(i network.SocketInfo) bool {
	return dead(i) || i.State == "CLOSE-WAIT" || i.State == "LAST-ACK" || i.State == "CLOSING"
}

// What has arrived when buffers are full: more than a program can read, and less than any buffer
// has room for; with a small window, more than one Read takes, since it opens again before it is
// empty.
const (
	enough      = maxSteps * 64
	enoughAtAll = 64
)

// moving says what this end, which looks like i, has still to receive, or to get an answer to.
func (e *end) moving(i network.SocketInfo, peer view) string {
	p := e.peer
	switch {
	case dead(i):
		return ""
	case e.cut:
		return e.movingCut(peer)
	case i.State == "SYN-RECEIVED" || i.State == "SYN-SENT":
		return "its handshake is not over"
	case p.rst:
		return "the other end's RST has not arrived"
	case p.fin && !p.full && !ended(i):
		return "the other end's FIN has not arrived"
	case p.closed && e.lost:
		return "the RST for what it wrote to a closed end has not arrived"
	case e.fin && p.fin && !e.full && !p.full && !p.cut:
		return "both FINs are sent, and it is not closed yet"
	case peer.visible && dead(peer.SocketInfo):
		return "the other end is dead, and it is not"
	case peer.visible && e.full && p.small:
		if peer.Unread+p.received < e.before+enoughAtAll && !ended(peer.SocketInfo) {
			return "of what it filled the buffers with nothing has arrived"
		}
	case peer.visible && e.full:
		if peer.Unread+p.received < e.before+enough {
			return "what it filled the buffers with has not arrived"
		}
	case peer.visible && !p.cut && e.sent != p.received+peer.Unread:
		return fmt.Sprintf("of the %d bytes that it wrote, %d were read and %d are unread", e.sent, p.received, peer.Unread)
	}
	return ""
}

// movingCut is for an end that hears nothing: what it sends arrives all the same.
func (e *end) movingCut(peer view) string {
	p := e.peer
	switch {
	case !peer.visible || p.cut || dead(peer.SocketInfo):
	case e.sent != p.received+peer.Unread:
		return fmt.Sprintf("of the %d bytes that it wrote in a partition, %d were read and %d are unread", e.sent, p.received, peer.Unread)
	case e.fin && !ended(peer.SocketInfo):
		return "the FIN that it sent in a partition has not arrived"
	}
	return ""
}

func (r *run) canWait(c *call) bool {
	return c.step.Op.reads() || c.step.Op == Accept || c.step.Op == Fill || c.lingers || c.step.Op == Connect && r.dropping
}

// due says whether a call returns by itself, with all as it was last seen.
func (r *run) due(c *call) bool {
	switch c.step.Op {
	case Accept:
		return r.closed || len(r.queue) > 0
	case Connect:
		return !r.dropping || c.ctx != nil && c.ctx.Err() != nil
	case Close:
		p := c.end.peer
		return !c.lingers || p.closed || p.emptied || p.lost
	case Fill:
		e := c.end
		return e.closed || e.pastW || e.fin || e.drained || dead(r.seen[c.step.End].SocketInfo)
	case Read, WriteTo:
		e, i := c.end, r.seen[c.step.End]
		return e.closed || e.past || e.shut || c.step.Op == Read && c.step.N == 0 || i.Unread > 0 || ended(i.SocketInfo)
	}
	return true
}
