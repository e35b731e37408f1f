package simnet_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// chances is a network on which chance has a part in everything.
func chances(t *testing.T) *simnet.Network {
	t.Helper()
	nw := simnet.New(t, simnet.Seed(7))
	nw.Latency(10 * time.Millisecond)
	nw.Jitter(50 * time.Millisecond)
	nw.Loss(0.2)
	nw.Reorder(0.3)
	return nw
}

// together runs f for each of n clients at one instant, and returns what each says, in their order.
func together(n int, f func(i int) string) string {
	said := make([]string, n)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { said[i] = f(i) })
	}
	clients.Wait()
	return strings.Join(said, "\n")
}

// exchange sends several messages and has them back, and says when.
func exchange(t *testing.T, c net.Conn, datagrams bool) string {
	t.Helper()
	begin := time.Now()
	var times []time.Duration
	for range 5 {
		_, err := c.Write(make([]byte, 1000))
		assert.NoError(t, err)
		if datagrams {
			assert.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
			_, _ = c.Read(make([]byte, 1000)) // it may be lost
		} else {
			_, err = io.ReadFull(c, make([]byte, 1000))
			assert.NoError(t, err)
		}
		times = append(times, time.Since(begin))
	}
	return fmt.Sprint(times)
}

// echoServer takes connections and datagrams at db:7.
func echoServer(t *testing.T, nw *simnet.Network) {
	t.Helper()
	db := nw.Host("db")
	ln, err := db.Listen(t.Context(), "tcp", ":7")
	require.NoError(t, err)
	pc, err := db.ListenPacket(t.Context(), "udp", ":7")
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	served.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	})
	t.Cleanup(func() {
		_, _ = ln.Close(), pc.Close()
		served.Wait() // a FIN may be lost, and comes again
	})
}

// The draws of one seed do not depend on the order in which goroutines run that do something at one
// instant.
func TestSeedWhateverTheOrder(t *testing.T) {
	worlds := map[string]func(t *testing.T, nw *simnet.Network, n int) string{
		"connections made one after the other, used at once": func(t *testing.T, nw *simnet.Network, n int) string {
			conns := make([]net.Conn, n)
			for i := range conns {
				c, err := nw.Dial("tcp", "db:7")
				require.NoError(t, err)
				defer c.Close()
				conns[i] = c
			}
			return together(n, func(i int) string { return exchange(t, conns[i], false) })
		},
		"each on a host of its own, from the dial on": func(t *testing.T, nw *simnet.Network, n int) string {
			hosts := make([]*simnet.Host, n)
			for i := range hosts {
				hosts[i] = nw.Host(fmt.Sprintf("app%d", i))
			}
			return together(n, func(i int) string {
				c, err := hosts[i].DialContext(t.Context(), "tcp", "db:7")
				if !assert.NoError(t, err) {
					return ""
				}
				defer c.Close()
				return exchange(t, c, false)
			})
		},
		"dialled at once, whoever has which": func(t *testing.T, nw *simnet.Network, n int) string {
			all := strings.Split(together(n, func(int) string {
				begin := time.Now()
				c, err := nw.Dial("tcp", "db:7")
				if !assert.NoError(t, err) {
					return ""
				}
				defer c.Close()
				return time.Since(begin).String() + " " + exchange(t, c, false)
			}), "\n")
			slices.Sort(all)
			return strings.Join(all, "\n")
		},
		"datagrams": func(t *testing.T, nw *simnet.Network, n int) string {
			conns := make([]net.Conn, n)
			for i := range conns {
				c, err := nw.Dial("udp", "db:7")
				require.NoError(t, err)
				defer c.Close()
				conns[i] = c
			}
			return together(n, func(i int) string { return exchange(t, conns[i], true) })
		},
	}
	for _, procs := range []int{1, 2} {
		for name, world := range worlds {
			for _, n := range []int{2, 4, 8, 16, 40} {
				if testing.Short() && n > 4 {
					break
				}
				t.Run(fmt.Sprintf("%s, %d clients, GOMAXPROCS %d", name, n, procs), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					var first string
					for run := range min(20, 200/n) { // of many clients, some soon run in another order
						synctest.Test(t, func(t *testing.T) {
							nw := chances(t)
							echoServer(t, nw)
							got := world(t, nw, n)
							if run == 0 {
								first = got
							}
							require.Equal(t, first, got, "run %d", run)
						})
					}
				})
			}
		}
	}
}

// The draws of one seed are the same in every process.
func TestSeedInEveryProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nw := chances(t)
		echoServer(t, nw)
		for network, want := range map[string]string{
			"tcp": "[63.412605ms 99.457485ms 660.807673ms 762.61376ms 841.879068ms]",
			"udp": "[1s 1.110354821s 2.110354821s 3.110354821s 4.110354821s]",
		} {
			c, err := nw.Dial(network, "db:7")
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, want, exchange(t, c, network == "udp"))
		}
	})
}

// Draws are not repeated from connection to connection, nor by the next socket at a port.
func TestSeedDiffersBetweenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := chances(t)
		echoServer(t, nw)
		seen := map[string]bool{}
		for range 20 {
			c, err := nw.Dial("tcp", "db:7")
			require.NoError(t, err)
			seen[exchange(t, c, false)] = true
			require.NoError(t, c.Close())
		}
		assert.Len(t, seen, 20)
	})
}
