// Command sockettest tells what this machine can do, and lets programs be tested that take no dial
// function.
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
//
//	go test -overlay=$(go run example.com/go-sockettest/cmd/sockettest overlay) ./...
//
// runs tests with a package net whose sockets simnet's Network.Intercept can take. The command
// writes the overlay to the user's cache, made from the sources of the Go that the shell runs, and
// prints its path. An overlay of your own that GOFLAGS names is merged. With -env it prints shell
// commands instead, that set GOFLAGS, and GOROOT and PATH for a Go that was downloaded by
// GOTOOLCHAIN: eval "$(go run example.com/go-sockettest/cmd/sockettest overlay -env)".
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

const usage = `usage: sockettest doctor
       sockettest overlay [-env]

doctor probes each fixture on this machine's kernel and prints what works, and how.
overlay writes an overlay for go test -overlay=..., with which simnet's Network.Intercept works, and prints its path;
with -env, shell commands that put it into GOFLAGS.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns the exit status.
func run(ctx context.Context, out, errs io.Writer, args []string) int {
	switch {
	case slices.Equal(args, []string{"doctor"}):
		return doctor(ctx, out, checks())
	case slices.Equal(args, []string{"overlay"}), slices.Equal(args, []string{"overlay", "-env"}):
		text, err := overlay(len(args) > 1)
		if err != nil {
			fmt.Fprintln(errs, "sockettest overlay:", err)
			return 1
		}
		fmt.Fprintln(out, text)
		return 0
	}
	fmt.Fprintln(errs, usage)
	return 2
}

// overlay writes the overlay for the Go at hand, and returns what to print.
func overlay(env bool) (string, error) {
	e, err := thisGo()
	if err != nil {
		return "", err
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	path, goroot, err := makeOverlay(e, dir)
	switch {
	case err != nil:
		return "", err
	case env:
		return commands(e, path, goroot), nil
	case goroot != e.GOROOT:
		return "", fmt.Errorf(`%s is in the module cache, of which the go command takes no overlay; run eval "$(go run %s overlay -env)", which sets GOROOT, PATH and GOFLAGS, and then go test`,
			e.GOVERSION, "example.com/go-sockettest/cmd/sockettest")
	}
	return path, nil
}

// commands returns commands for a shell.
func commands(e goEnv, path, goroot string) string {
	var lines []string
	export := func(name, value, more string) {
		lines = append(lines, "export "+name+"='"+strings.ReplaceAll(value, "'", `'\''`)+"'"+more)
	}
	if goroot != e.GOROOT {
		export("GOROOT", goroot, "")
		export("GOTOOLCHAIN", "local", "")
		export("PATH", filepath.Join(goroot, "bin"), `:"$PATH"`)
	}
	export("GOFLAGS", withOverlay(e.GOFLAGS, path), "")
	return strings.Join(lines, "\n")
}
