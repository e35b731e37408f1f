package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
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

// A dice draws for one kind of fault on one path. Each has its own sequence, so that to add a fault of another kind, or on
// another path, does not change what is drawn here: it is drawn when something is sent. The zero dice has not been cast.
type dice struct{ r *rand.Rand }

// draw returns a number of [0, 1).
func (d *dice) draw(p *path, kind string) float64 {
	if d.r == nil {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00%s\x00%s", p.from.name, p.to.name, kind)
		d.r = rand.New(rand.NewPCG(p.n.seed, h.Sum64()))
	}
	return d.r.Float64()
}

// drew tells whether chance had a part in what happened.
func (n *Network) drew() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.paths {
		if p.lossDice.r != nil || p.jitterDice.r != nil || p.reorderDice.r != nil {
			return true
		}
	}
	return false
}
