// Package conformance decides whether a [network.Stack] answers as the kernel does. It holds tests,
// written once against the seam and run on every stack: the truth table ([Truth]), whose lines were
// read off Linux 6.18; a suite for listeners ([Listeners]), since nobody has one
// (go.dev/issue/31036); and random socket programs ([Program]), whose traces on two stacks must be
// equal ([Compare]), and those of UDP sockets ([Datagrams]).
//
// What a program observes depends on the kernel alone, not on its timing: each call is made when
// all before it have had their whole effect, and whether a call waits is decided without a clock,
// by what has arrived at either end. The few things that the kernel itself does not decide alike
// each time are listed in useless.go, and no program does them.
//
//	go test ./internal/overall -run TestPrograms -programs 1000000            # a long run
//	go test ./internal/overall -run TestPrograms -programs 1 -first 586       # one that failed
//	go test ./internal/overall -fuzz FuzzPrograms
//
// It imports network and the standard library's testing, and knows no stack: a [World] brings one.
package conformance
