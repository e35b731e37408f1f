// Package conformance decides whether a [network.Stack] answers as the kernel does. It holds tests, written once against
// the seam and run on every stack: the truth table ([Truth]), whose lines were read off Linux 6.18; a suite for listeners
// ([Listeners]), since nobody has one (go.dev/issue/31036); and random socket programs ([Program]), whose traces on two
// stacks must be equal ([Compare]).
//
// It imports network and the standard library's testing, and knows no stack: a [World] brings one.
package conformance
