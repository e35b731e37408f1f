package simnet

import (
	"fmt"
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
