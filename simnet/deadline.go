package simnet

import "time"

// A deadline is that of one direction of a connection, or of a listener.
type deadline struct {
	expired bool
	event   event
}

// set moves the deadline; zero is none. wake ends the waits. The caller holds mu.
func (d *deadline) set(n *Network, t time.Time, wake func()) {
	if d.event.do == nil && !t.IsZero() {
		d.event.do = func() { d.expired = true; wake() }
	}
	d.expired = !t.IsZero() && !t.After(time.Now())
	switch {
	case d.expired:
		n.drop(&d.event)
		wake()
	case t.IsZero():
		n.drop(&d.event)
	default:
		n.schedule(&d.event, t)
	}
}
