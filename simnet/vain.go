package simnet

import (
	"cmp"
	"slices"
)

// A connect whose SYN was dropped sends it again and again, and each time in vain unless something has changed meanwhile. In a
// bubble, where a minute is nothing, the clock would stop for each of them, which costs more than all the rest. So they are
// counted when somebody looks, as if they had been sent, and sent one by one only when the answer may be another.

// expectNothing notes that p will drop all further SYNs like the one that has just arrived. The caller of all of it holds mu.
func (d *dial) expectNothing(p *port) {
	if d.n.troubles == 0 && p.awaiting == 0 {
		d.vain = p
		d.sendLater()
	}
}

// sendLater sets the time for the next SYN that matters: if all are in vain, the one that is not sent any more.
func (d *dial) sendLater() {
	at := d.last
	for _, wait := range synWaits[d.syns-1:] {
		if at = at.Add(wait); d.vain == nil {
			break
		}
	}
	d.n.schedule(&d.again, at)
}

// catchUp counts the SYNs that have been sent in vain up to now.
func (d *dial) catchUp() {
	for d.vain != nil && d.syns < len(synWaits) {
		at := d.last.Add(synWaits[d.syns-1])
		if at.After(now()) {
			return
		}
		d.syns++
		d.last = at
		d.vain.dropped++
		if d.last.After(d.vain.lastDrop) {
			d.vain.lastDrop = d.last
		}
	}
}

// catchUp is for those who count SYNs.
func (n *Network) catchUp() {
	for d := range n.dials {
		d.catchUp()
	}
}

// stir makes all connects send their SYNs again: something has changed.
func (n *Network) stir() {
	var vain []*dial
	for d := range n.dials {
		if d.catchUp(); d.vain != nil {
			vain = append(vain, d)
		}
	}
	slices.SortFunc(vain, func(a, b *dial) int { return cmp.Compare(a.again.seq, b.again.seq) })
	for _, d := range vain {
		d.vain = nil
		d.sendLater()
	}
}
