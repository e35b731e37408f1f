package mysql

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/rawsock/sockpair"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// A pool looks at a connection's descriptor before it uses it again, and makes another one if the server has ended it. Without a
// descriptor it does not look, and the query fails.
func TestPoolSeesThatItsConnectionEnded(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]script.Step{"FIN": script.Close(), "RST": script.Reset()} {
		t.Run(name, func(t *testing.T) {
			sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
				over := make(chan struct{}, 1) // the first connection, which takes what is sent
				await := script.Do(func(ctx context.Context, _ script.Conn) error {
					select {
					case <-over:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				ep := sockettest.Start(t, after(packet, script.Send("\x07\x00\x00\x01"+"\x00\x00\x00\x02\x00\x00\x00"), await, end), sockettest.On(nw))
				var dialled net.Conn
				db := open(t, exam.Place{Endpoint: ep}, func(c *mysql.Config) {
					c.DialFunc = func(ctx context.Context, network, addr string) (c net.Conn, err error) {
						c, err = nw.DialContext(ctx, network, addr)
						dialled = c
						return c, err
					}
				})
				exec(t, db)
				over <- struct{}{}
				awaitEnd(t, dialled)
				exec(t, db)
				require.Equal(t, 2, ep.Count(fixtures.ConnAccepted))
			})
		})
	}
}

func exec(t *testing.T, db *sql.DB) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "do 1")
	require.NoError(t, err)
}

// awaitEnd waits until FIN or RST has arrived.
func awaitEnd(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Read(func(fd uintptr) bool {
		_, err := sockpair.Peek(int(fd), make([]byte, 1))
		return !errors.Is(err, syscall.EAGAIN)
	}))
}
