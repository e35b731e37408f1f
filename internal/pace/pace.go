// Package pace says when bytes leave that leave at a rate, exactly over time however they are
// parted, and how late they arrive.
package pace

import "time"

// Part returns total*k/n, without overflow; for n = 0 it is total.
func Part(total time.Duration, k, n int) time.Duration {
	if n == 0 {
		return total
	}
	d, i := time.Duration(n), time.Duration(k)
	return total/d*i + total%d*i/d
}

// Late returns a delay with a jitter on top, of which draw is the share, from 0 to 1.
func Late(delay, jitter time.Duration, draw float64) time.Duration {
	return delay + time.Duration(draw*float64(jitter))
}

// A Meter lets n units leave in each span of time, one after the other. The zero Meter has let none
// leave.
type Meter struct {
	Busy time.Time // until then some leave

	since time.Time
	units int // that have left since then
	span  time.Duration
	n     int
}

// Next returns when count more units begin to leave, no earlier than from, and when they have left.
func (m *Meter) Next(from time.Time, count int, span time.Duration, n int) (begin, end time.Time) {
	if m.Busy.After(from) {
		from = m.Busy
	}
	if !m.Busy.Equal(from) || m.span != span || m.n != n {
		*m = Meter{since: from, span: span, n: n}
	}
	m.units += count
	m.Busy = m.since.Add(Part(span, m.units, n))
	return from, m.Busy
}
