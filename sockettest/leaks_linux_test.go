package sockettest

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutDescriptors runs f while the process gets no more descriptors. No other test may run.
func withoutDescriptors(t *testing.T, f func()) {
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: old.Max}))
	defer func() { assert.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) }()
	f()
}

// A process that has leaked all its descriptors cannot list its sockets.
func TestWatchSocketsUnlisted(t *testing.T) {
	needSockets(t)
	w, err := WatchSockets()
	require.NoError(t, err)
	defer w.Close()
	var l Leaks
	var again error
	withoutDescriptors(t, func() {
		l = w.Find(0)
		_, again = WatchSockets()
	})
	assert.Contains(t, l.String(), "unseen     the process's sockets are not listed: open /proc/self/fd: too many open files")
	assert.Error(t, again)
	assert.Equal(t, int32(1), recentFixtures.wanted.Load(), "by the first watch alone")
}
