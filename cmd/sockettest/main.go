// Command sockettest tells what this machine can do.
//
//	go run example.com/go-sockettest/cmd/sockettest doctor
//
// starts each fixture on the live kernel, over IPv4, IPv6, unix sockets and UDP, and each hostile
// client at a server of its own. It checks that each behaves as its name says, and prints a table
// line by line, in less than 30 s: by which mechanism, what a start and a close cost, and what is
// skipped and why. The exit status is 1 if a fixture that should work here does not, and 2 if the
// command was called in a way that cannot work.
//
// It is how users of other systems than Linux report differences. It opens sockets on loopback
// only, changes nothing, and needs no privilege.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
)

const usage = `usage: sockettest doctor

doctor probes each fixture on this machine's kernel and prints what works, and how.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns the exit status.
func run(ctx context.Context, out, errs io.Writer, args []string) int {
	if len(args) != 1 || args[0] != "doctor" {
		fmt.Fprintln(errs, usage)
		return 2
	}
	return doctor(ctx, out, checks())
}
