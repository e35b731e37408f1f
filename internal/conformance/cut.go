package conformance

import (
	"fmt"
	"slices"
	"time"
)

// partition cuts the end off once all that it has sent is acknowledged: an acknowledgement may take
// 40 ms, and if it vanishes what was sent is sent again.
func (e *end) partition() error {
	for over := time.Now().Add(patience); !e.cut; time.Sleep(time.Millisecond) {
		now, err := own(e)
		info := now.Own
		if err != nil {
			break // closed: Partition says so
		}
		if dead(info) || info.Unacked == 0 && info.State != "FIN-WAIT-1" && info.State != "LAST-ACK" && info.State != "CLOSING" {
			break
		}
		if time.Now().After(over) {
			return fmt.Errorf("what it sent was not acknowledged: %v", info)
		}
	}
	return e.conn.Partition()
}

// noteCut: a partition, or its end.
func (e *end) noteCut(c *call) {
	if c.err != nil {
		return
	}
	e.cut = c.step.Op == Partition
	if e.everCut = e.everCut || e.cut; !e.cut {
		e.unacked, e.missing = false, false
	}
}

// send notes that the end has sent something, if it has.
func (e *end) send(something bool) {
	if something {
		e.unacked = e.unacked || e.cut
		e.peer.missing = e.peer.missing || e.peer.cut
	}
}

// reset notes that the end has sent RST. One that vanishes is not sent again; whoever has something
// to send again is answered with another.
func (e *end) reset() {
	if e.peer.cut {
		e.fin, e.peer.lost = false, e.peer.lost || e.peer.unacked
		return
	}
	e.rst = true
}

// partitioned reports whether any connection was.
func (r *run) partitioned() bool {
	return slices.ContainsFunc(r.ends[:], func(e *end) bool { return e != nil && e.everCut })
}
