package rawsock

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

var absent = network.State{Answer: network.Absent}

// What others have put at the path, or beside it, is neither removed nor replaced.
func TestUnixLeavesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before []network.State
		put    func(t *testing.T, path string)
	}{
		{"a server where there was no socket", []network.State{absent}, listenUnix},
		{"a server in place of a stale socket", []network.State{serve, refuse}, func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			listenUnix(t, path)
		}},
		{"a file in place of a socket", []network.State{serve}, func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "rawsock") // shorter than t.TempDir
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			path, beside := filepath.Join(dir, "db.sock"), filepath.Join(dir, ".db.sock.live")
			require.NoError(t, os.WriteFile(beside, nil, 0o600))
			p, err := Loopback{}.Bind(t.Context(), "unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = p.Close() })
			for _, s := range tt.before {
				require.NoError(t, p.Become(s))
			}
			tt.put(t, path)
			theirs, err := os.Lstat(path)
			require.NoError(t, err)
			for _, s := range []network.State{serve, refuse, absent} {
				err := p.Become(s)
				if tt.before[len(tt.before)-1] != s { // else there is nothing to change
					require.ErrorIs(t, err, fs.ErrExist)
					require.ErrorContains(t, err, path+" is somebody else's now; remove it first")
				}
			}
			require.NoError(t, p.Close())
			now, err := os.Lstat(path)
			require.NoError(t, err)
			assert.True(t, os.SameFile(theirs, now))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 2, "theirs alone")
		})
	}
}

// A server that has taken a fresh path keeps it.
func TestUnixLeavesAServerAtAFreshPath(t *testing.T) {
	t.Parallel()
	p, err := Loopback{}.Bind(t.Context(), "unix", "")
	require.NoError(t, err)
	path := p.Addr().String()
	require.NoError(t, p.Become(absent))
	listenUnix(t, path)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) })
	require.NoError(t, p.Close())
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	_ = c.Close()
}

// listenUnix is a server of somebody else's, for the time of the test.
func listenUnix(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
}
