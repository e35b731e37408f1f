package sockettest

import (
	"slices"
	"strings"
)

// elided stands for frames that are left out.
const elided = "..."

// plumbing are the packages through which code waits for the network: that it does is told by the innermost frame.
var plumbing = []string{"net.", "bufio.", "io.", "sync.", "crypto/tls.", "os.", "example.com/go-sockettest/simnet.",
	"example.com/go-sockettest/fixtures."}

// ends shows a long stack by where it waits, whose function does so, and who called first.
func ends(frames []string) []string {
	frames = withoutLocks(frames)
	last := len(frames) - 1
	if last < 4 {
		return frames
	}
	own := slices.IndexFunc(frames, func(f string) bool { return !hasPrefix(f, plumbing) })
	short := []string{frames[0]}
	switch {
	case own <= 1 || own == last:
		return append(short, frames[1], elided, frames[last])
	case own == last-1:
		return append(short, elided, frames[own], frames[last])
	}
	return append(short, elided, frames[own], elided, frames[last])
}

// withoutLocks leaves out how package sync waits, and in simnet that it is package sync that does: what is waited for is
// above.
func withoutLocks(frames []string) []string {
	for len(frames) > 1 && strings.HasPrefix(frames[0], "sync.runtime_") {
		frames = frames[1:]
	}
	if len(frames) > 1 && strings.HasPrefix(frames[0], "sync.(*Cond).Wait  ") &&
		strings.HasPrefix(frames[1], "example.com/go-sockettest/simnet.") {
		frames = frames[1:]
	}
	return frames
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
