package conformance

// What the kernel does not decide alike each time, or not at once, and so no program does:
//
//   - a second Read or Accept beside one that waits: which of them gets what comes is package net's
//     affair;
//   - after Fill, another write on the same end: whether it fits is a matter of the kernel's memory
//     (autotuning);
//   - Fill towards an end that is closed, or has called both CloseRead and CloseWrite, and the
//     reverse: how much is written before the RST comes is a race, and when it comes can depend on
//     a timer (the zero-window probe's);
//   - a Read that waits beside a Fill that does: which of the two gets the one error of a RST;
//   - Fill towards an end before it was accepted: its buffers grow when it is;
//   - with a small window, a Write of more than it is sure to have room for, since the rest comes
//     when a timer says so, and a Drain, for which each few hundred bytes can wait for one;
//   - Fill from an end with a small window to another: what its small send buffer (TCP_MAXSEG)
//     holds fits into a window that still grows;
//   - a smaller buffer (SetReadBuffer, SetWriteBuffer) of a connection: a window that was offered
//     is not taken back, what comes beyond it is dropped, and each few KB wait for a timer; a small
//     window from the start is what Setup is for;
//   - on ::1, a Connect to a port that was closed: it may be another process's by then;
//   - Fill on a connection that was partitioned, and the reverse, and a partition of one with a
//     small window: its probes, and what they grow to, are a matter of time;
//   - a second Write of an end that is partitioned, or its FIN: 200 ms after the first one, which
//     is not acknowledged, nothing more is sent (RFC 5681, section 3.1: the window of congestion is
//     one segment then);
//   - a partition of both ends at once, and one beside a port that answers no SYN: what is sent
//     again to an end that is gone is not answered there either;
//   - Close in a partition in which the other end has sent something: whether that or the FIN comes
//     first is a race;
//   - Close after SetLinger in a partition, with a small window, towards an end that takes nothing
//     any more (CloseRead), or beside a Read or a Fill: the last of them to end closes, and waits;
//   - a listener at the address of a connection that has ended: it may be another process's;
//   - keep-alive that finds an end gone: it takes 10 s at least ([Truth] has it);
//   - Drain after CloseRead: it would end wherever the queue happens to be empty;
//   - a port that changes its answer while a Connect waits: the client notices when it next
//     retransmits its SYN, after a second or more.

// useless says why a step is not done. It must rest on what the trace shows alone, so that all
// stacks do the same.
func (r *run) useless(s Step) string {
	switch s.Op {
	case Connect:
		if r.ends[s.End] != nil {
			return "there is this connection"
		}
		if r.closed && r.has(ipv6) {
			return "the port may be another's"
		}
		return r.waits(Connect)
	case Accept:
		return r.waits(Accept)
	case Cancel:
		return ""
	case Refuse, Drop, Listen, ClosePort:
		if s.Op == Drop && r.partitioned() {
			return "it would drop what is sent again"
		}
		return r.waits(Connect)
	}
	e := r.ends[s.End]
	if e == nil || e.conn == nil {
		return "there is no such end"
	}
	for _, why := range []string{e.uselessBeside(s), r.uselessCut(e, s), e.uselessSmall(s), e.uselessFull(s), e.uselessAtEnd(s)} {
		if why != "" {
			return why
		}
	}
	return ""
}

// uselessBeside: beside a call that waits.
func (e *end) uselessBeside(s Step) string {
	switch {
	case e.closing:
		return "its Close waits"
	case s.Op == Close && e.lingers && (e.reading || e.filling):
		return "which of the two closes is a race"
	case e.reading && (s.Op.reads() || s.Op == Look || s.Op == Fill || s.Op == Drain):
		return "a Read waits"
	case e.filling && (s.Op.reads() || s.Op == Look || s.Op == Drain):
		return "a Fill waits"
	}
	return ""
}

// uselessCut: in a partition, or after one.
func (r *run) uselessCut(e *end, s Step) string {
	p := e.peer
	switch {
	case s.Op == Partition && (r.dropping || e.small || p.small || e.full || p.full || e.filling || p.filling || p.cut):
		return "its partition is a matter of time"
	case s.Op == Fill && (e.everCut || p.everCut):
		return "it was partitioned"
	case (s.Op.writes() && s.N > 0 || s.Op == CloseWrite) && e.cut && e.unacked:
		return "it may wait for an acknowledgement"
	case s.Op == Close && e.cut && e.missing:
		return "what comes first is a race"
	}
	return ""
}

// uselessSmall: with a small window.
func (e *end) uselessSmall(s Step) string {
	switch {
	case s.Op == Fill && e.small && !e.peer.small:
		return "the window grows to take it all"
	case s.Op.writes() && e.peer.small && e.sent+s.N > e.peer.received+sureRoom:
		return "its window may be full"
	case s.Op == Drain && e.small:
		return "its window opens by a timer"
	}
	return ""
}

// uselessFull: with buffers that are full, or can never be.
func (e *end) uselessFull(s Step) string {
	switch {
	case (s.Op.writes() || s.Op == Fill || s.Op == Flood) && e.full && !e.broken && !e.closed:
		return "its buffers are full"
	case s.Op == Fill && (e.peer.closed || e.peer.conn == nil || e.peer.shut && e.peer.half):
		return "the other end does not take it"
	case s.Op == Drain && (e.shut || !e.peer.full || !e.peer.filling && !e.peer.half && !e.peer.closed):
		return "there is nothing that ends"
	case s.Op == WriteTo && e.peer.full, s.Op == Fill && e.peer.copying:
		return "how much one read takes is up to the kernel"
	case s.Op == CloseRead && e.half && e.peer.full, s.Op == CloseWrite && e.shut && e.peer.full:
		return "the other end has filled the buffers"
	}
	return ""
}

// uselessAtEnd: when one end is closed, or about to be.
func (e *end) uselessAtEnd(s Step) string {
	p := e.peer
	switch {
	case s.Op == Flood && (!p.closed || p.full || e.small || p.small || e.everCut || p.everCut):
		return "it may fit"
	case s.Op == Peer && e.raw:
		return "it counts what was read"
	case s.Op == ListenThere && (e.closed || p.closed || e.lost || e.rst || p.rst || e.fin && p.fin || e.shut && e.half || p.shut && p.half):
		return "the address may be another's"
	case s.Op == Close && e.lingers && (p.shut || e.small || p.small || e.everCut || p.everCut):
		return "how long it waits is a matter of time"
	}
	return ""
}

// sureRoom is what a small window has room for, however it is filled: on Linux 6.18 it is 1,152
// bytes.
const sureRoom = 512

// waits says that such a call waits, if one does.
func (r *run) waits(op Op) string {
	for _, c := range r.pending {
		if c.step.Op == op {
			return c.step.Go() + " waits"
		}
	}
	return ""
}
