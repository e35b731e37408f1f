package sockettest

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"time"
)

// An opContext is what an operation gets. It sees when contexts that the operation makes of it end:
// package context has a parent of another package cancel a child by its method AfterFunc, and takes
// that back when the child has ended by itself.
type opContext struct {
	context.Context

	once sync.Once
	done chan struct{} // not that of Context, from which package context would make children directly

	mu    sync.Mutex
	ended []time.Time // when children ended by themselves
}

// keepEnded is how many ends of children are remembered, the latest.
const keepEnded = 16

// Done implements [context.Context].
func (c *opContext) Done() <-chan struct{} {
	c.once.Do(func() {
		c.done = make(chan struct{})
		context.AfterFunc(c.Context, func() { close(c.done) })
	})
	return c.done
}

// AfterFunc is what package context calls to cancel a child.
func (c *opContext) AfterFunc(f func()) (stop func() bool) {
	undo := context.AfterFunc(c.Context, f)
	if madeByADial() {
		return undo
	}
	return func() bool {
		first := undo()
		if first {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.ended) == keepEnded {
				c.ended = c.ended[1:]
			}
			c.ended = append(c.ended, time.Now())
		}
		return first
	}
}

// madeByADial reports whether the child is of package net, which makes some for each dial or lookup
// and ends them with it: that asks nothing of the client. A connect has one if the kernel takes
// time for it, as on a busy machine.
func madeByADial() bool {
	var at [6]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(3, at[:])])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); strings.HasPrefix(f.Function, "net.") {
			return true
		}
	}
	return false
}

// endedBetween returns when, since start, the first of the children ended that did so in that time;
// 0 if none did.
func (c *opContext) endedBetween(start time.Time, from, to time.Duration) time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.ended {
		if d := at.Sub(start); d >= from && d <= to {
			return d
		}
	}
	return 0
}
