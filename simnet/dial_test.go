package simnet_test

import (
	"context"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// A hanging is a connect whose SYNs are dropped.
type hanging struct {
	*testing.T
	nw    *simnet.Network
	port  network.Port
	start time.Time
	ended chan error
}

// hang lets a connect hang while f goes on, in a bubble.
func hang(t *testing.T, f func(h *hanging)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{T: t, nw: simnet.New(t), start: time.Now(), ended: make(chan error, 1)}
		var err error
		h.port, err = h.nw.Bind(t.Context(), "tcp", "")
		require.NoError(t, err)
		h.become(network.Drop)
		go func() {
			c, err := h.nw.Dial("tcp", h.port.Addr().String())
			if err == nil {
				_ = c.Close()
			}
			h.ended <- err
		}()
		f(h)
	})
}

func (h *hanging) become(a network.Answer) {
	h.Helper()
	require.NoError(h, h.port.Become(network.State{Answer: a}))
}

// at waits until d after the connect began.
func (h *hanging) at(d time.Duration) {
	time.Sleep(time.Until(h.start.Add(d))) // rules:allow in a bubble
	synctest.Wait()
}

// dropped compares how many SYNs were dropped.
func (h *hanging) dropped(want int) {
	h.Helper()
	got, _, err := h.port.Dropped()
	require.NoError(h, err)
	assert.Equal(h, want, got, "after %v", time.Since(h.start))
}

// ends waits for the end of the connect, and compares its time.
func (h *hanging) ends(at time.Duration) error {
	h.Helper()
	err := <-h.ended
	assert.Equal(h, at, time.Since(h.start))
	return err
}

func TestSYNsAreCountedWhenSomebodyLooks(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(500 * time.Millisecond)
		h.dropped(1)
		h.at(2500 * time.Millisecond)
		h.dropped(3)
		assert.Contains(h, h.nw.Sockets()[1], "3 SYNs")
		h.at(12 * time.Second)
		assert.Contains(h, h.nw.Sockets()[1], "8 SYNs")
		h.at(130 * time.Second)
		h.dropped(11)
		assert.ErrorIs(h, h.ends(131*time.Second), syscall.ETIMEDOUT)
		h.dropped(11)
	})
}

func TestAwaitedSYNsAreDropped(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(500 * time.Millisecond)
		got, err := h.port.AwaitDropped(h.Context(), 4)
		require.NoError(h, err)
		assert.Equal(h, 4, got)
		assert.Equal(h, 3*time.Second, time.Since(h.start))
		assert.ErrorIs(h, h.ends(131*time.Second), syscall.ETIMEDOUT)
		h.dropped(11)
	})
}

// What has happened already needs no waiting, and what has not ends with the context.
func TestAwaitDroppedEndsWithItsContext(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(500 * time.Millisecond)
		ctx, cancel := context.WithCancelCause(h.Context())
		cancel(io.ErrUnexpectedEOF)
		got, err := h.port.AwaitDropped(ctx, 1)
		require.NoError(h, err)
		assert.Equal(h, 1, got)
		got, err = h.port.AwaitDropped(ctx, 2)
		require.Equal(h, io.ErrUnexpectedEOF, err)
		assert.Equal(h, 1, got)
		require.NoError(h, h.port.Close())
		assert.ErrorIs(h, h.ends(time.Second), syscall.ECONNREFUSED)
	})
}

func TestTheNextSYNMeetsWhatHasChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h *hanging)
		err    error
	}{
		"listens": {func(h *hanging) { h.become(network.Listen) }, nil},
		"refuses": {func(h *hanging) { h.become(network.Refuse) }, syscall.ECONNREFUSED},
		"closed":  {func(h *hanging) { require.NoError(h, h.port.Close()) }, syscall.ECONNREFUSED},
	} {
		t.Run(name, func(t *testing.T) {
			hang(t, func(h *hanging) {
				h.at(5500 * time.Millisecond)
				tt.change(h)
				assert.ErrorIs(h, h.ends(7*time.Second), tt.err)
			})
		})
	}
}

func TestLatencyAppliesToTheNextSYN(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(2500 * time.Millisecond)
		h.nw.Latency(time.Second)
		h.at(2700 * time.Millisecond)
		h.become(network.Listen)
		assert.NoError(h, h.ends(5*time.Second))
	})
}

func TestPartitionLosesTheNextSYNs(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(2500 * time.Millisecond)
		heal := h.nw.Partition()
		h.at(6 * time.Second)
		h.dropped(3)
		heal()
		h.at(8 * time.Second)
		h.dropped(4)
		h.at(130 * time.Second)
		h.dropped(8)
		assert.ErrorIs(h, h.ends(131*time.Second), syscall.ETIMEDOUT)
	})
}

func TestHeldSYNsArriveTogether(t *testing.T) {
	hang(t, func(h *hanging) {
		h.at(2500 * time.Millisecond)
		release := h.nw.Hold()
		h.at(4400 * time.Millisecond)
		h.dropped(3)
		release()
		h.at(4500 * time.Millisecond)
		h.dropped(5)
		h.at(6 * time.Second)
		h.dropped(6)
		h.at(130 * time.Second)
		h.dropped(11)
		assert.ErrorIs(h, h.ends(131*time.Second), syscall.ETIMEDOUT)
	})
}
