package rawsock

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// conns are the open connections that a port has accepted. They are partitioned together, those to come included.
type conns struct {
	mu   sync.Mutex
	cut  bool
	open map[*conn]struct{}
}

// add makes an accepted connection one of them. plain clears what it has inherited from its listener; nil if that is nothing.
func (s *conns) add(tcp *net.TCPConn, plain func(*net.TCPConn) error) (*conn, error) {
	c, err := newConn(tcp)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.of = s
	switch {
	case s.cut:
		err = c.change(&c.all, true)
	case plain != nil:
		err = plain(tcp)
	}
	if err != nil {
		_ = c.TCPConn.Close()
		return nil, err
	}
	if s.open == nil {
		s.open = map[*conn]struct{}{}
	}
	s.open[c] = struct{}{}
	return c, nil
}

// set partitions or heals them all. After an error none is partitioned. One that ends meanwhile is no error: there is
// nothing to cut.
func (s *conns) set(cut bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
	for c := range s.open {
		if err := c.change(&c.all, cut); err != nil && !errors.Is(err, net.ErrClosed) {
			if cut {
				s.heal()
			}
			return err
		}
	}
	return nil
}

// heal heals them all. The caller holds mu.
func (s *conns) heal() {
	s.cut = false
	for c := range s.open {
		_ = c.change(&c.all, false)
	}
}

// remove is for one that is closed. Those of no port have no conns.
func (s *conns) remove(c *conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// change sets who wants the connection partitioned, its own Partition or its port, and makes it so if either does.
func (c *conn) change(who *bool, wants bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.open()
	if err != nil {
		return c.explain(wants, err)
	}
	before := *who
	*who = wants
	switch cut := c.own || c.all; {
	case cut && !c.cut:
		err = partition(c.TCPConn, c.v6())
	case !cut && c.cut:
		err = healed(c.TCPConn, c.v6())
	}
	if err != nil {
		*who = before
		return c.explain(wants, err)
	}
	c.cut = c.own || c.all
	return nil
}

func (c *conn) explain(cut bool, err error) error {
	what := "heal"
	if cut {
		what = "partition"
	}
	return fmt.Errorf("%s %s -> %s: %w", what, c.LocalAddr(), c.RemoteAddr(), err)
}
