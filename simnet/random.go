package simnet

import (
	"fmt"
	"net/netip"
	"strconv"
)

// seedEnv sets the seed of a whole run: SOCKETTEST_SEED=7 go test ./...
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

// A sender is what draws belong to, so that they do not depend on when others send. The connections
// of a host are told apart by what was dialled and how often that was dialled before, whichever of
// its addresses answers; UDP sockets by their own address.
type sender struct {
	dialled string // empty of a UDP socket
	addr    netip.AddrPort
	n       int // from 1
}

// A chance is a kind of draw. Each kind has its own sequence, so that adding a fault of one kind
// does not change what is drawn for another. It is drawn when something is sent.
type chance int

const (
	loss       chance = iota
	windowLoss        // of the news that there is room again, sent by the reader
	jitter
	windowJitter
	reorder
	kinds
)
