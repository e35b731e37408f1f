package simnet

import (
	"net"
	"sync"
	"time"
)

// A socket is what a [Conn] and a [PacketConn] have in common.
type socket struct {
	n      *Network
	host   *Host
	net    string // the name by which package net's errors call the network
	la     net.Addr
	closed bool // by its owner

	readable, writable          sync.Cond
	readDeadline, writeDeadline deadline
}

// open makes s a socket of host h.
func (s *socket) open(h *Host, nw string, local net.Addr) {
	s.n, s.host, s.net, s.la = h.n, h, nw, local
	s.readable.L, s.writable.L = &h.n.mu, &h.n.mu
}

// LocalAddr returns the socket's own address: a [*net.TCPAddr] or a [*net.UDPAddr].
func (s *socket) LocalAddr() net.Addr { return s.la }

// SetDeadline sets the deadlines of reads and writes, those in progress included. The zero time
// means none.
func (s *socket) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline sets the deadline of reads, those in progress included. The zero time means none.
func (s *socket) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline sets the deadline of writes, those in progress included. The zero time means
// none. A datagram is never waited for, but fails to be sent after the deadline.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *socket) setDeadlines(t time.Time, read, write bool) error {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if s.closed {
		return s.setError(net.ErrClosed)
	}
	if read {
		s.readDeadline.set(&s.n.agenda, t, s.readable.Broadcast)
	}
	if write {
		s.writeDeadline.set(&s.n.agenda, t, s.writable.Broadcast)
	}
	return nil
}

// setError is the error of a call that sets a deadline or a buffer, which names one address only.
func (s *socket) setError(err error) error {
	return &net.OpError{Op: "set", Net: s.net, Addr: s.la, Err: err}
}

// dropDeadlines cancels the deadlines of a socket that was closed.
func (s *socket) dropDeadlines() {
	s.n.agenda.cancel(&s.readDeadline.event)
	s.n.agenda.cancel(&s.writeDeadline.event)
}
