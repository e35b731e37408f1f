package sockettest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEndsOfAStack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		frames, want []string
	}{
		{"none", nil, nil},
		{"short", []string{"net.(*conn).Read  net.go:1", "db.Ping  db.go:1"}, []string{"net.(*conn).Read  net.go:1", "db.Ping  db.go:1"}},
		{"the client's own between", []string{"net.(*netFD).Read  fd.go:1", "net.(*conn).Read  net.go:1", "bufio.(*Reader).fill  bufio.go:1",
			"db.(*conn).hello  conn.go:1", "db.Open  db.go:1", "shop.Test  shop_test.go:1"},
			[]string{"net.(*netFD).Read  fd.go:1", "...", "db.(*conn).hello  conn.go:1", "...", "shop.Test  shop_test.go:1"}},
		{"the client's own next to the last", []string{"net.(*netFD).Read  fd.go:1", "net.(*conn).Read  net.go:1", "bufio.(*Reader).fill  bufio.go:1",
			"db.Open  db.go:1", "shop.Test  shop_test.go:1"},
			[]string{"net.(*netFD).Read  fd.go:1", "...", "db.Open  db.go:1", "shop.Test  shop_test.go:1"}},
		{"the client waits for itself", []string{"db.(*pool).get  pool.go:1", "db.(*pool).conn  pool.go:2", "db.Open  db.go:1", "db.Ping  db.go:2",
			"shop.Test  shop_test.go:1"},
			[]string{"db.(*pool).get  pool.go:1", "db.(*pool).conn  pool.go:2", "...", "shop.Test  shop_test.go:1"}},
		{"nothing but plumbing", []string{"net.a  a.go:1", "net.b  a.go:2", "net.c  a.go:3", "net.d  a.go:4", "net.e  a.go:5"},
			[]string{"net.a  a.go:1", "net.b  a.go:2", "...", "net.e  a.go:5"}},
		{"a lock", []string{"sync.runtime_SemacquireMutex  sema.go:1", "sync.(*Mutex).Lock  mutex.go:1", "db.Ping  db.go:1"},
			[]string{"sync.(*Mutex).Lock  mutex.go:1", "db.Ping  db.go:1"}},
		{"simnet", []string{"sync.runtime_notifyListWait  sema.go:1", "sync.(*Cond).Wait  cond.go:1",
			"example.com/go-sockettest/simnet.(*Conn).Read  conn.go:1", "db.Ping  db.go:1"},
			[]string{"example.com/go-sockettest/simnet.(*Conn).Read  conn.go:1", "db.Ping  db.go:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, ends(tt.frames))
		})
	}
}
