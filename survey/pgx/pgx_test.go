// Package pgx holds jackc/pgx to its limits: its core, pgconn, and what programs use, pgx and pgxpool.
package pgx

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client and core name them in the table.
var (
	client = exam.Client{Name: "pgx", Module: "github.com/jackc/pgx/v5", Peer: obliging}
	core   = exam.Client{Name: "pgx/pgconn", Module: client.Module, Peer: obliging}
)

func TestMain(m *testing.M) { sockettest.Main(m) }

// startup reads a StartupMessage: its length and version, then parameters up to an empty one.
var startup = script.Script{script.Read(8), script.ReadUntil("\x00\x00")}

// ready is all that a server must say to one that it trusts: AuthenticationOk, BackendKeyData, ReadyForQuery.
const ready = "R\x00\x00\x00\x08\x00\x00\x00\x00" + "K\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x01" + "Z\x00\x00\x00\x05I"

// silent is a server that lets the client in, and answers no query.
var silent = fixtures.Scripted{Steps: append(startup[:2:2], script.Send(ready), script.Discard())}

// done answers a query that has no rows: CommandComplete, ReadyForQuery.
const done = "C\x00\x00\x00\x0dSELECT 0\x00" + "Z\x00\x00\x00\x05I"

// obliging is a server that lets the client in, and answers each query.
var obliging = exam.Honest(fixtures.Scripted{Steps: append(startup[:2:2], script.Send(ready),
	script.Forever(script.ReadUntil("select 1\x00"), script.Send(done)))})

// config leads to the fixture. What pgx is told in its connection string, it is told here as well.
func config(t testing.TB, p exam.Place, connectTimeout time.Duration) *pgx.ConnConfig {
	t.Helper()
	c, err := pgx.ParseConfig("postgres://user@" + p.Addr() + "/db?sslmode=disable")
	require.NoError(t, err)
	c.ConnectTimeout = connectTimeout // as connect_timeout in the string; there in whole seconds
	if p.Virtual {
		c.DialFunc = p.DialContext
	}
	return c
}

// connectCore connects with pgconn.
func connectCore(t testing.TB, p exam.Place) func(context.Context) error {
	c := config(t, p, p.Limit)
	return func(ctx context.Context) error {
		conn, err := pgconn.ConnectConfig(ctx, &c.Config)
		if err == nil {
			_ = conn.Close(ctx)
		}
		return err
	}
}

// connect connects with pgx, and with a context instead of ConnectTimeout.
func connect(t testing.TB, p exam.Place) func(context.Context) error {
	c := config(t, p, 0)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, c)
		if err == nil {
			_ = conn.Close(ctx)
		}
		return err
	}
}

// unlimited connects with what pgx.ParseConfig gives.
func unlimited(t testing.TB, p exam.Place) func(context.Context) error {
	c := config(t, p, 0)
	return func(ctx context.Context) error {
		_, err := pgx.ConnectConfig(ctx, c)
		return err
	}
}

// query is a query on a connection that is there already.
func query(t testing.TB, p exam.Place) func(context.Context) error {
	conn, err := pgx.ConnectConfig(t.Context(), config(t, p, 0))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		_, err := conn.Exec(ctx, "select 1")
		return err
	}
}

// unlimitedQuery is one whose context never ends, but with the test.
func unlimitedQuery(t testing.TB, p exam.Place) func(context.Context) error {
	conn, err := pgx.ConnectConfig(t.Context(), config(t, p, 0))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return func(ctx context.Context) error {
		_, err := conn.Exec(ctx, "select 1")
		return err
	}
}

func TestPgconn(t *testing.T) {
	t.Parallel()
	const knob = "pgconn.Config.ConnectTimeout (connect_timeout, default none)"
	exam.Run(t, core, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: knob, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: connectCore},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: knob, Want: exam.AtLimit(sockettest.TimedOut), Op: connectCore},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: knob, Want: exam.AtLimit(sockettest.TimedOut), Op: connectCore},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: knob, Want: exam.AtOnce(sockettest.ResetByPeer), Op: connectCore},
	})
}

func TestPgx(t *testing.T) {
	t.Parallel()
	const knob = "the context"
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: knob, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: connect},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: knob, Want: exam.AtLimit(sockettest.TimedOut), Op: connect},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: knob, Want: exam.AtLimit(sockettest.TimedOut), Op: connect},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: knob, Want: exam.AtOnce(sockettest.ResetByPeer), Op: connect},
		{Name: exam.WentSilent, Fixture: silent, Knob: knob, Want: exam.AtLimit(sockettest.TimedOut), Op: query,
			Lingers: "TestAbandonedQueryLivesOnFor15s"},
		{Name: exam.BlackHoled + ", no limit", Fixture: fixtures.BlackHole{}, Knob: "none", Want: exam.Never(), Op: unlimited},
		{Name: exam.Unanswered + ", no limit", Fixture: fixtures.Silent{}, Knob: "none", Want: exam.Never(), Op: unlimited},
		{Name: exam.WentSilent + ", no limit", Fixture: silent, Knob: "none", Want: exam.Never(), Op: unlimitedQuery},
	})
}
