package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strconv"
)

// seedEnv is the seed of a whole run: SOCKETTEST_SEED=7 go test ./...
const seedEnv = "SOCKETTEST_SEED"

func seedOf(env string) (uint64, error) {
	if env == "" {
		return 1, nil
	}
	seed, err := strconv.ParseUint(env, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("simnet: %s is %q; want a number of 64 bits, or nothing: %w", seedEnv, env, err)
	}
	return seed, nil
}

// A sender is who sends, so that what is drawn for one does not depend on when others send. The
// connections of a host are told apart by what was dialled and how often it was before, whichever
// of its addresses answers; UDP sockets by their own address.
type sender struct {
	dialled string // empty of a UDP socket
	addr    netip.AddrPort
	n       int // from 1
}

// next counts those that are called alike. The caller holds mu.
func (h *Host) next(s sender) sender {
	h.senders[s]++
	s.n = h.senders[s]
	return s
}

// A way is a path as one sender uses it: what is drawn on it is that sender's.
type way struct {
	*path
	who   *sender
	dice  *[kinds]*rand.Rand // those that were cast; nil if none was
	aside *event             // a datagram that lets the next one pass
}

// A chance is a kind of draw. Each has its own sequence, so that to add a fault of one kind does
// not change what is drawn for another: it is drawn when something is sent.
type chance int

const (
	loss       chance = iota
	windowLoss        // of what only tells that there is room again: who reads sends it, beside who writes
	jitter
	windowJitter
	reorder
	kinds
)

// draw returns a number of [0, 1).
func (w *way) draw(kind chance) float64 {
	if w.dice == nil {
		w.dice = new([kinds]*rand.Rand)
	}
	if w.dice[kind] == nil {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00%s\x00%d\x00%v", w.from.name, w.to.name, kind, *w.who)
		w.dice[kind] = rand.New(rand.NewPCG(w.n.seed, h.Sum64()))
		w.n.drawn = true
	}
	return w.dice[kind].Float64()
}

// drew tells whether chance had a part in what happened.
func (n *Network) drew() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drawn
}
