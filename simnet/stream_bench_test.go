package simnet_test

import (
	"bufio"
	"io"
	"net"
	"testing"
)

// readers are what usually is at the other end of a stream. Each reads until EOF.
var readers = []struct {
	name string
	read func(s net.Conn)
}{
	{"ReadFull64K", readFull},
	{"CopyToDiscard8K", func(s net.Conn) { _, _ = io.Copy(io.Discard, struct{ io.Reader }{s}) }},
	{"Bufio4K", readBuffered},
}

func readFull(s net.Conn) {
	for b := make([]byte, 64<<10); ; {
		if _, err := io.ReadFull(s, b); err != nil {
			return
		}
	}
}

func readBuffered(s net.Conn) {
	r := bufio.NewReader(s)
	for {
		if _, err := r.Peek(1); err != nil {
			return
		}
		_, _ = r.Discard(r.Buffered())
	}
}

// BenchmarkStream writes 64 KiB at a time. Every byte must be copied once, from the writer's buffer
// to the reader's: the row Copy is what that costs alone, and no network in memory can do better.
func BenchmarkStream(b *testing.B) {
	for _, r := range readers {
		b.Run(r.name, func(b *testing.B) {
			eachEnds(b, func(b *testing.B, c, s net.Conn) {
				b.Helper()
				done := make(chan struct{})
				go func() { defer close(done); r.read(s) }()
				p := make([]byte, 64<<10)
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					_, _ = c.Write(p)
				}
				_ = c.Close()
				<-done
			})
		})
	}
	b.Run("Copy", func(b *testing.B) {
		from, to := make([]byte, 64<<10), make([]byte, 64<<10)
		b.SetBytes(int64(len(from)))
		for b.Loop() {
			copy(to, from)
		}
	})
}
