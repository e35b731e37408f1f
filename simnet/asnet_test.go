package simnet_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A stack is what package net and a Network both are.
type stack interface {
	DialContext(ctx context.Context, nw, address string) (net.Conn, error)
	DialFrom(ctx context.Context, nw string, local net.Addr, address string) (net.Conn, error)
	Listen(ctx context.Context, nw, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error)
}

// kernel is package net, with plain TCP.
type kernel struct{ net.Dialer }

func newKernel() *kernel {
	k := &kernel{}
	k.SetMultipathTCP(false)
	return k
}

func (*kernel) DialFrom(ctx context.Context, nw string, local net.Addr, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: local}
	return d.DialContext(ctx, nw, address)
}

func (*kernel) Listen(ctx context.Context, nw, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, nw, address)
}

func (*kernel) ListenPacket(ctx context.Context, nw, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, nw, address)
}

// A row is a small program that says what package net answers.
type row struct {
	name string
	do   func(b bench)
}

// bench is what a row works with. What it opens is closed with the test.
type bench struct {
	t *testing.T
	stack
	said *strings.Builder
}

func (b bench) listen(nw, address string) (net.Listener, error) {
	ln, err := b.Listen(b.t.Context(), nw, address)
	if err == nil {
		b.t.Cleanup(func() { _ = ln.Close() })
	}
	return ln, err
}

func (b bench) packet(nw, address string) (net.PacketConn, error) {
	c, err := b.ListenPacket(b.t.Context(), nw, address)
	if err == nil {
		b.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func (b bench) dial(nw, address string) (net.Conn, error) {
	c, err := b.DialContext(b.t.Context(), nw, address)
	if err == nil {
		b.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

var lastFree atomic.Int64

// free returns a port that nobody has at any address. It is none of the ephemeral ones, so that no
// other process takes it meanwhile.
func (b bench) free() string {
	for {
		port := strconv.FormatInt(20000+(int64(os.Getpid())*13+lastFree.Add(1))%12000, 10)
		ln, err := b.listen("tcp", "[::]:"+port)
		if err != nil {
			continue
		}
		c, err := b.packet("udp", "[::]:"+port)
		must(0, ln.Close())
		if err == nil {
			must(0, c.Close())
			return port
		}
	}
}

// say adds a line: of errors, their types and fields, and P for ports.
func (b bench) say(values ...any) {
	for i, v := range values {
		if err, ok := v.(error); ok {
			values[i] = describe(err)
		}
	}
	b.said.WriteString(ephemeral.ReplaceAllString(fmt.Sprintln(values...), "P"))
}

var ephemeral = regexp.MustCompile(`\b[2-6]\d{4}\b`)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func describe(err error) string {
	switch e := err.(type) {
	case *net.OpError:
		return fmt.Sprintf("Op{%s %s %v->%v %s}", e.Op, e.Net, e.Source, e.Addr, describe(e.Err))
	case *os.SyscallError:
		return fmt.Sprintf("%s:%s", e.Syscall, describe(e.Err))
	case syscall.Errno:
		return e.Error()
	}
	return fmt.Sprintf("%T(%v)", err, err)
}

// update makes eachRow write down what the kernel says.
var update = flag.Bool("update", false, "write testdata again, from what the kernel says")

// eachRow runs rows on both networks, and compares what they say with testdata, where what Linux
// 6.18 says is written down.
func eachRow(t *testing.T, rows []row) {
	t.Helper()
	file := "testdata/" + t.Name() + ".txt"
	said := map[string]*strings.Builder{"kernel": {}, "simnet": {}}
	for _, r := range rows {
		for name, s := range map[string]stack{"kernel": newKernel(), "simnet": simnet.New(t)} {
			t.Run(name+"/"+r.name, func(t *testing.T) {
				if name == "kernel" {
					if runtime.GOOS != "linux" {
						t.Skip("testdata is Linux's")
					}
					manytests.NeedsIPv6(t)
				}
				fmt.Fprintln(said[name], "#", r.name)
				r.do(bench{t, s, said[name]})
			})
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(said["kernel"].String()), 0o666))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), said["simnet"].String(), "simnet")
	if kernel := said["kernel"].String(); kernel != "" { // else its rows were skipped
		assert.Equal(t, string(want), kernel, "kernel")
	}
}

// awaitReset waits until the kernel has taken in a RST. Here it is there at once.
func (b bench) awaitReset(c net.Conn) {
	alive := func() bool {
		all := must(rawsock.Loopback{}.Connected())
		return slices.ContainsFunc(all, func(s network.Socket) bool {
			return s.Local == c.LocalAddr().String() && s.Remote == c.RemoteAddr().String() && s.State == "ESTABLISHED"
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for alive() {
		<-tick.C
	}
}
