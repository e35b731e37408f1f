package pgx

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// on starts a fixture on a simulated network.
func on(t *testing.T, f fixtures.Fixture) exam.Place {
	t.Helper()
	return exam.Place{Endpoint: sockettest.Start(t, f, sockettest.On(simnet.New(t))), Virtual: true, Limit: 30 * time.Second}
}

// FINDINGS.md, pgx 1: a query that has timed out keeps a goroutine and its connection for 15 s more, and dials a second one.
func TestAbandonedQueryLivesOnFor15s(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, silent)
		conn, err := pgx.ConnectConfig(t.Context(), config(t, p, 0))
		require.NoError(t, err)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			_, err := conn.Exec(ctx, "select 1")
			return err
		})
		require.NoError(t, conn.Close(t.Context()), "which does not end it sooner")
		sockettest.Expect(t, p.Endpoint, sockettest.Accepted.At(15*time.Second), func() error {
			<-conn.PgConn().CleanupDone()
			return nil
		})
		assert.Len(t, p.Conns(), 2, "the query's, and one for the CancelRequest")
	})
}

// FINDINGS.md, pgx 2: a connect that was reset in its handshake has returned when a second connection asks the server to cancel
// what process 0 does.
func TestFailedConnectDialsAgainToCancelNothing(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.Sequence{fixtures.Reset{}, fixtures.Silent{}})
		sockettest.Expect(t, p.Endpoint, sockettest.ResetByPeer.At(0), connectCore(t, p))
		require.NoError(t, p.Await(t.Context(), fixtures.ConnAccepted, 2))
		second := p.Conns()[1]
		time.Sleep(15*time.Second - 1) // rules:allow virtual time
		assert.Equal(t, "\x00\x00\x00\x0c\x04\xd2\x16\x2e\x00\x00\x00\x00", string(second.First()), "CancelRequest, process 0, no key")
		end, _ := second.PeerEnd()
		assert.Equal(t, fixtures.Open, end, "after 15 s less 1 ns")
		time.Sleep(time.Second) // rules:allow virtual time
		end, _ = second.PeerEnd()
		assert.Equal(t, fixtures.FIN, end)
	})
}

// FINDINGS.md, pgx 3: Pool.Close does not end the dials by which the pool keeps MinConns, and waits for them.
func TestPoolCloseWaitsForItsOwnDials(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.BlackHole{})
		c, err := pgxpool.ParseConfig("postgres://user@" + p.Addr() + "/db?sslmode=disable")
		require.NoError(t, err)
		c.ConnConfig.DialFunc = p.DialContext
		c.MinConns = 1
		pool, err := pgxpool.NewWithConfig(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, p.Await(t.Context(), fixtures.SYN, 1))
		sockettest.Expect(t, p.Endpoint, sockettest.Accepted.At(time.Minute), func() error {
			pool.Close()
			return nil
		})
	})
}

// A dial on behalf of Acquire is ended by Close, at once.
func TestPoolCloseEndsTheDialsOfAcquire(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, fixtures.BlackHole{})
		c, err := pgxpool.ParseConfig("postgres://user@" + p.Addr() + "/db?sslmode=disable")
		require.NoError(t, err)
		c.ConnConfig.DialFunc = p.DialContext
		pool, err := pgxpool.NewWithConfig(t.Context(), c)
		require.NoError(t, err)
		sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			_, err := pool.Acquire(ctx)
			return err
		})
		sockettest.Expect(t, p.Endpoint, sockettest.Accepted.At(0), func() error {
			pool.Close()
			return nil
		})
	})
}

// FINDINGS.md, pgx 4: an AfterNetConnect that fails and has no connection to return makes the connect panic.
func TestAfterNetConnectThatFailsPanics(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		p := on(t, fixtures.Silent{})
		c := config(t, p, p.Limit)
		c.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			return nil, errors.New("no tunnel")
		}
		assert.Panics(t, func() { _, _ = pgconn.ConnectConfig(t.Context(), &c.Config) })
	})
}
