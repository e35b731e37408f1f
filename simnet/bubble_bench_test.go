package simnet_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// TestBubbleFigures is a fresh bubble in which something times out after 30 s. A bubble needs a
// *testing.T, so this is a test that prints what a benchmark would:
//
//	SIMNET_FIGURES=1 go test -run BubbleFigures ./simnet
func TestBubbleFigures(t *testing.T) {
	if os.Getenv("SIMNET_FIGURES") == "" {
		t.Skip("prints figures; set SIMNET_FIGURES=1")
	}
	for _, row := range []struct {
		name string
		f    func(t *testing.T)
	}{
		{"net.Pipe", pipeTimesOut},
		{"Dial", dialTimesOut},
		{"BlackHole", blackHoleTimesOut},
		{"Expect", expectTimesOut},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					synctest.Test(t, row.f)
				}
			})
			fmt.Printf("%-10s %v %v\n", row.name, r, r.MemString())
		})
	}
}

// pipeTimesOut is what one writes without a network: a read deadline on net.Pipe.
func pipeTimesOut(*testing.T) {
	c, s := net.Pipe()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	_ = readErr(c)
	_, _ = c.Close(), s.Close()
}

// dialTimesOut is the network alone.
func dialTimesOut(t *testing.T) {
	nw := simnet.New(t)
	p, _ := nw.Bind(t.Context(), "tcp", "")
	_ = p.Become(network.State{Answer: network.Drop})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	_, _ = nw.DialContext(ctx, "tcp", p.Addr().String())
	cancel()
	_ = p.Close()
}

// blackHoleTimesOut is a fixture on it.
func blackHoleTimesOut(t *testing.T) {
	nw := simnet.New(t)
	ep, _ := fixtures.Start(t.Context(), fixtures.BlackHole{}, fixtures.Place{Stack: nw})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	_, _ = ep.DialContext(ctx, "", "")
	cancel()
	_ = ep.Close()
}

// expectTimesOut is the same as a test has it, with the assertion.
func expectTimesOut(t *testing.T) {
	nw := simnet.New(t)
	ep := sockettest.Start(t, fixtures.BlackHole{}, sockettest.On(nw))
	sockettest.Expect(t, ep, sockettest.TimedOut.At(limit).In("connect"), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		_, err := nw.DialContext(ctx, "tcp", ep.Addr())
		return err
	})
}
