// Package mysql holds go-sql-driver/mysql to its limits, as programs use it: through database/sql.
package mysql

import (
	"context"
	"database/sql"
	"io"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "mysql", Module: "github.com/go-sql-driver/mysql", Peer: obliging}

func TestMain(m *testing.M) { sockettest.Main(m) }

// greeting is the server's first packet: protocol 10, a version, a nonce, and mysql_native_password.
const greeting = "\x49\x00\x00\x00" + "\x0a" + "8.0.0\x00" + "\x01\x00\x00\x00" + "12345678\x00" + "\x01\x82" + "\x2d" + "\x02\x00" +
	"\x08\x00" + "\x15" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "123456789012\x00" + "mysql_native_password\x00"

// welcome is the OK packet that follows the client's answer.
const welcome = "\x07\x00\x00\x02" + "\x00\x00\x00\x02\x00\x00\x00"

// packet reads one of the client's, whatever is in it.
var packet = script.Do(func(_ context.Context, c script.Conn) error {
	header := make([]byte, 4)
	if _, err := io.ReadFull(c, header); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c, int64(header[0])|int64(header[1])<<8|int64(header[2])<<16)
	return err
})

// after is a server that lets the client in, and then does something else.
func after(steps ...script.Step) fixtures.Fixture {
	return fixtures.Scripted{Steps: append(script.Script{script.Send(greeting), packet, script.Send(welcome)}, steps...)}
}

var (
	silent = after(script.Discard())

	// obliging answers each command with OK, to which all is well.
	obliging = exam.Honest(after(script.Forever(packet, script.Send("\x07\x00\x00\x01"+"\x00\x00\x00\x02\x00\x00\x00"))))

	// reset ends the connection when the client has answered the greeting.
	reset = fixtures.Scripted{Steps: script.Script{script.Send(greeting), packet, script.Reset()}}

	// dripping answers a query with a packet of which a byte comes now and then: a result set header of 16 MB.
	dripping = after(packet, script.Send("\xfe\xff\xff\x01"), script.Forever(script.Wait(20*time.Millisecond), script.Send("x")))
)

// open returns a pool that leads to the fixture.
func open(t testing.TB, p exam.Place, set func(*mysql.Config)) *sql.DB {
	t.Helper()
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Logger = "tcp", p.Addr(), "user", &mysql.NopLogger{}
	if p.Virtual {
		c.DialFunc = p.DialContext
	}
	set(c)
	connector, err := mysql.NewConnector(c)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// none leaves the driver's defaults.
func none(*mysql.Config) {}

// ping connects and asks whether the server is there.
func ping(set func(*mysql.Config, time.Duration)) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		return open(t, p, func(c *mysql.Config) { set(c, p.Limit) }).PingContext
	}
}

// pingWithin is the same, with a context that ends.
func pingWithin(t testing.TB, p exam.Place) func(context.Context) error {
	db := open(t, p, none)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		return db.PingContext(ctx)
	}
}

// query asks on a connection that is there already.
func query(set func(*mysql.Config, time.Duration)) func(testing.TB, exam.Place) func(context.Context) error {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		conn := connect(t, p, func(c *mysql.Config) { set(c, p.Limit) })
		return func(ctx context.Context) error {
			_, err := conn.ExecContext(ctx, "select 1")
			return err
		}
	}
}

// queryWithin is the same, with a context that ends.
func queryWithin(t testing.TB, p exam.Place) func(context.Context) error {
	conn := connect(t, p, none)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		_, err := conn.ExecContext(ctx, "select 1")
		return err
	}
}

// connect returns one connection of the pool, which is there.
func connect(t testing.TB, p exam.Place, set func(*mysql.Config)) *sql.Conn {
	t.Helper()
	db := open(t, p, set)
	conn, err := db.Conn(t.Context())
	for err != nil && t.Context().Err() == nil { // the limit is in force: on a machine that stalls it may take several tries
		conn, err = db.Conn(t.Context())
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func dialTimeout(c *mysql.Config, d time.Duration) { c.Timeout = d }
func readTimeout(c *mysql.Config, d time.Duration) { c.ReadTimeout = d }
func noTimeout(*mysql.Config, time.Duration)       {}

func TestMySQL(t *testing.T) {
	t.Parallel()
	const dial, read, ctx = "Config.Timeout (timeout)", "Config.ReadTimeout (readTimeout)", "the context"
	// What a read ends in, timed out or reset, is written to the log and to the caller ErrInvalidConn.
	invalid := sockettest.ErrorIs(mysql.ErrInvalidConn)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: dial, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: ping(dialTimeout)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: dial, Want: exam.AtLimit(sockettest.TimedOut).In("connect"), Op: ping(dialTimeout)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: read, Want: exam.AtLimit(invalid), Op: ping(readTimeout)},
		{Name: exam.ResetMidway, Fixture: reset, Knob: read, Want: exam.AtOnce(invalid), Op: ping(readTimeout)},
		{Name: exam.WentSilent, Fixture: silent, Knob: read, Want: exam.AtLimit(invalid), Op: query(readTimeout)},
		{Name: exam.BlackHoled + ", context", Fixture: fixtures.BlackHole{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin},
		{Name: exam.Unanswered + ", context", Fixture: fixtures.Silent{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin},
		{Name: exam.WentSilent + ", context", Fixture: silent, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: queryWithin},
		{Name: exam.BlackHoled + ", no limit", Fixture: fixtures.BlackHole{}, Knob: "none", Want: exam.Never(), Op: ping(noTimeout)},
		{Name: exam.WentSilent + ", no limit", Fixture: silent, Knob: "none", Want: exam.Never(), Op: query(noTimeout)},
		{Name: exam.Unanswered + ", dial limit only", Fixture: fixtures.Silent{}, Knob: dial, Want: exam.Never().Times(2), Op: ping(dialTimeout),
			SimnetOnly: "on the kernel, a machine that stalls could make the dial take that long"},
		{Name: "an answer that drips", Fixture: dripping, Knob: read, Want: exam.Never().Times(3), Op: query(readTimeout),
			SimnetOnly: "on the kernel, a machine that stalls could make a pause that long"},
	})
}
