package overall

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
)

// TestUnmodifiedFigures prints what a limit of 30 s costs in a bubble of its own:
//
//	SIMNET_FIGURES=1 go test -overlay=... -run UnmodifiedFigures ./internal/overall
func TestUnmodifiedFigures(t *testing.T) {
	if os.Getenv("SIMNET_FIGURES") == "" {
		return
	}
	needsOverlay(t)
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				nw.Intercept(t)
				ep, err := fixtures.Start(t.Context(), fixtures.BlackHole{}, fixtures.Place{Stack: nw})
				require.NoError(t, err)
				client := http.Client{Timeout: 30 * time.Second}
				_, err = client.Get("http://" + ep.Addr())
				require.Error(t, err)
				require.NoError(t, ep.Close())
			})
		}
	})
	fmt.Printf("http.Client at a BlackHole %v\n", r)
}

// BenchmarkUnmodifiedPingPong compares package net over a network with the network itself.
func BenchmarkUnmodifiedPingPong(b *testing.B) {
	for _, through := range []bool{false, true} {
		b.Run(map[bool]string{false: "simnet", true: "net"}[through], func(b *testing.B) {
			nw := simnet.New(b)
			listen, dial := func() (net.Listener, error) { return nw.Listen(b.Context(), "tcp", "127.0.0.1:0") }, nw.Dial
			if through {
				needsOverlay(b)
				nw.Intercept(b)
				listen, dial = func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }, net.Dial
			}
			ln, err := listen()
			require.NoError(b, err)
			c, err := dial("tcp", ln.Addr().String())
			require.NoError(b, err)
			s, err := ln.Accept()
			require.NoError(b, err)
			go func() {
				_, _ = io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{s}, make([]byte, 100))
			}()
			p := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Write(p)
				_, _ = io.ReadFull(c, p)
			}
			_, _, _ = c.Close(), s.Close(), ln.Close()
		})
	}
}
