// Package malformed has what go-sql-driver/mysql makes of packets that are too short. It leaves goroutines behind that
// nothing can end, so it is apart from the package that looks for such when all is over.
package malformed

import (
	"context"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

var errPanicked = errors.New("the driver panicked")

// connect uses the driver without database/sql, which a panic would leave with one connection too many.
func connect(t testing.TB, p exam.Place) func(context.Context) error {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.Logger, c.ReadTimeout = "tcp", p.Addr(), &mysql.NopLogger{}, p.Limit
	connector, err := mysql.NewConnector(c)
	require.NoError(t, err)
	return func(ctx context.Context) (err error) {
		defer func() {
			if recover() != nil {
				err = errPanicked
			}
		}()
		conn, err := connector.Connect(ctx)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
}

// FINDINGS.md, mysql 1: a first packet of one byte makes the driver index beyond its end, in the caller's goroutine; the
// connection is not closed, and the goroutine that watches the context never ends.
func TestPacketOfOneBytePanics(t *testing.T) {
	const bubble = "the goroutine that is left behind never ends, which a bubble does not allow"
	exam.Run(t, exam.Client{}, []exam.Case{
		{Name: "a greeting of one byte", Fixture: sends("\x01\x00\x00\x00\x0a"), Want: exam.AtOnce(sockettest.ErrorIs(errPanicked)), Op: connect,
			Leak: "leak: 1 goroutine and 1 connection left behind", KernelOnly: bubble},
		{Name: "an error of one byte", Fixture: sends("\x01\x00\x00\x00\xff"), Want: exam.AtOnce(sockettest.ErrorIs(errPanicked)), Op: connect,
			Leak: "leak: 1 goroutine and 1 connection left behind", KernelOnly: bubble},
	})
}

func sends(greeting string) fixtures.Fixture {
	return fixtures.Scripted{Steps: script.Script{script.Send(greeting), script.Discard()}}
}
