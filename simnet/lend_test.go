package simnet_test

import (
	"bytes"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// What a writer does with its buffer after Write is its own affair, however much of it was read by
// then.
func TestWriteKeepsNothingOfItsBuffer(t *testing.T) {
	for _, size := range []int{1, 100, 8 << 10, 64 << 10, 5 << 20} { // the last one blocks: no buffer holds it
		c, s := ends["simnet"](t)
		sent, got, reads := fnv.New64(), fnv.New64(), rand.New(rand.NewPCG(1, uint64(size)))
		done := make(chan error)
		go func() {
			for b := make([]byte, 100<<10); ; {
				n, err := s.Read(b[:1+reads.IntN(len(b))])
				_, _ = got.Write(b[:n])
				if err != nil {
					done <- err
					return
				}
			}
		}()
		b := make([]byte, size)
		for i := range min(20, 1+5<<20/size) {
			for j := range b {
				b[j] = byte(i + j*j>>3)
			}
			_, _ = sent.Write(b)
			_, err := c.Write(b)
			require.NoError(t, err)
			clear(b)
		}
		require.NoError(t, c.Close())
		assert.Equal(t, io.EOF, <-done)
		assert.Equal(t, sent.Sum64(), got.Sum64(), "%d B each", size)
	}
}

// A write that nobody reads is there still after it has returned, and after the next one.
func TestWritesThatNobodyHasReadAreKept(t *testing.T) {
	c, s := ends["simnet"](t)
	b := bytes.Repeat([]byte("a"), 20<<10)
	want := append([]byte("first"), bytes.Repeat([]byte("a"), 3*len(b))...)
	_, err := c.Write([]byte("first"))
	require.NoError(t, err)
	for range 3 {
		copy(b, bytes.Repeat([]byte("a"), len(b)))
		_, err = c.Write(b)
		require.NoError(t, err)
		clear(b)
	}
	require.NoError(t, c.Close())
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, got), "%d B", len(got))
}

// What the send buffer holds is sent by the other end's Read, and its memory serves other
// connections then.
func TestTheSendBufferIsNotLent(t *testing.T) {
	for _, size := range []int{4 << 20, 4<<20 + 5_000, 4<<20 + 10_000} { // more than the other end's window; the rest differs
		synctest.Test(t, func(t *testing.T) {
			nw := simnet.New(t)
			c, s := pair(t, nw)
			other, others := pair(t, nw)
			want, got := make([]byte, size), []byte(nil)
			_, _ = rand.NewChaCha8([32]byte{}).Read(want)
			go func() {
				_, err := c.Write(want)
				assert.NoError(t, err)
				assert.NoError(t, c.Close())
			}()
			for b, junk := make([]byte, 100_000), make([]byte, 4<<10); ; {
				synctest.Wait() // the writer is blocked, or done
				n, err := s.Read(b)
				got = append(got, b[:n]...)
				if err != nil {
					require.Equal(t, io.EOF, err)
					break
				}
				_, err = other.Write(junk)
				require.NoError(t, err)
				_, err = io.ReadFull(others, junk)
				require.NoError(t, err)
			}
			assert.True(t, bytes.Equal(want, got), "%d B", len(got))
		})
	}
}

// What a Read that waited has left is kept, however little that is.
func TestWriteKeepsWhatAReadHasLeft(t *testing.T) {
	for _, left := range []int{1, 2, 5_000} {
		synctest.Test(t, func(t *testing.T) {
			c, s := pair(t, simnet.New(t))
			const size = 20_000
			read := make(chan int)
			go func() {
				n, _ := s.Read(make([]byte, size-left))
				read <- n
			}()
			synctest.Wait()
			b := bytes.Repeat([]byte("a"), size)
			_, err := c.Write(b)
			require.NoError(t, err)
			clear(b)
			require.Equal(t, size-left, <-read)
			require.NoError(t, c.Close())
			got, err := io.ReadAll(s)
			require.NoError(t, err)
			require.Equal(t, strings.Repeat("a", left), string(got))
		})
	}
}
