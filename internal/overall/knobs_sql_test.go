package overall_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/sockettest"
)

func sqlKnobs() []knob {
	timedOut, idleOver := sockettest.TimedOut.At(knobLimit), sockettest.Closed.At(knobLimit+time.Second)
	return []knob{
		{name: "ctx of DB.PingContext", trip: fixtures.BlackHole{}, with: timedOut.In("connect"),
			without: sockettest.TimedOut.At(131 * time.Second).In("connect"), note: "Linux gives up; the driver must obey its context",
			run: against(fixtures.BlackHole{}, pinging)},
		{name: "ctx of DB.PingContext", trip: fixtures.Silent{}, with: timedOut, without: waits, note: "the driver must obey its context",
			run: against(fixtures.Silent{}, pinging)},
		{name: "ctx of DB.Conn", trip: fixtures.Echo{}, with: timedOut, without: waits, note: "all SetMaxOpenConns are in use",
			run: against(fixtures.Echo{}, pooled)},
		{name: "DB.SetConnMaxIdleTime", trip: fixtures.Echo{}, with: idleOver, without: waits,
			note: "the connection stays open, idle; the pool looks once a second", run: against(fixtures.Echo{}, idling((*sql.DB).SetConnMaxIdleTime))},
		{name: "DB.SetConnMaxLifetime", trip: fixtures.Echo{}, with: idleOver, without: waits,
			note: "the connection stays open, idle; the pool looks once a second", run: against(fixtures.Echo{}, idling((*sql.DB).SetConnMaxLifetime))},
	}
}

// A sqlDriver is the least that touches the network.
type sqlDriver struct {
	nw   network.Stack
	addr string
}

// openSQL opens a database, until the end of the test.
func openSQL(t *testing.T, nw network.Stack, ep *fixtures.Endpoint) *sql.DB {
	t.Helper()
	db := sql.OpenDB(sqlDriver{nw, ep.Addr()})
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// Connect is driver.Connector's.
func (d sqlDriver) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.nw.DialContext(ctx, "tcp", d.addr)
	return sqlConn{c}, err
}

// Driver is driver.Connector's.
func (d sqlDriver) Driver() driver.Driver { return nil }

// A sqlConn knows PING, and no more.
type sqlConn struct{ net.Conn }

var errNoSQL = errors.New("only Ping is implemented")

// Prepare is driver.Conn's.
func (sqlConn) Prepare(string) (driver.Stmt, error) { return nil, errNoSQL }

// Begin is driver.Conn's.
func (sqlConn) Begin() (driver.Tx, error) { return nil, errNoSQL }

// Ping sends a byte and waits for one, for as long as ctx lasts.
func (c sqlConn) Ping(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func pinging(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	db := openSQL(t, nw, ep)
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return db.PingContext(ctx)
	}
}

// pooled waits for the one connection that there may be, which somebody has.
func pooled(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
	db := openSQL(t, nw, ep)
	db.SetMaxOpenConns(1)
	taken, err := db.Conn(t.Context())
	if assert.NoError(t, err) {
		t.Cleanup(func() { assert.NoError(t, taken.Close()) })
	}
	return func(ctx context.Context) error {
		ctx, cancel := within(ctx, limit)
		defer cancel()
		return closed(db.Conn(ctx))
	}
}

// idling waits until the pool closes a connection that nobody uses.
func idling(set func(*sql.DB, time.Duration)) caller {
	return func(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error {
		db := openSQL(t, nw, ep)
		set(db, limit)
		return func(ctx context.Context) error {
			if err := db.PingContext(ctx); err != nil {
				return err
			}
			return untilClosed(ctx, ep)
		}
	}
}
