package simnet

import "time"

// The faults of the whole network: of each link between two machines, and of each machine's own loopback.

// everywhere is the link of the whole network.
func (n *Network) everywhere() *Link { return &Link{n, []*path{&n.all}} }

// Latency is [Link.Latency] of every link and every loopback.
func (n *Network) Latency(d time.Duration) (undo func()) { return n.everywhere().Latency(d) }

// Jitter is [Link.Jitter] of every link and every loopback.
func (n *Network) Jitter(d time.Duration) (undo func()) { return n.everywhere().Jitter(d) }

// Bandwidth is [Link.Bandwidth] of every link and every loopback, each by itself.
func (n *Network) Bandwidth(bytesPerSecond int) (undo func()) {
	return n.everywhere().Bandwidth(bytesPerSecond)
}

// Loss is [Link.Loss] of every link and every loopback.
func (n *Network) Loss(share float64) (undo func()) { return n.everywhere().Loss(share) }

// Reorder is [Link.Reorder] of every link and every loopback.
func (n *Network) Reorder(share float64) (undo func()) { return n.everywhere().Reorder(share) }

// Hold is [Link.Hold] of every link and every loopback.
func (n *Network) Hold() (release func()) { return n.everywhere().Hold() }

// Partition is [Link.Partition] of every link and every loopback: nobody hears anybody, not even themselves.
func (n *Network) Partition() (heal func()) { return n.everywhere().Partition() }
