// Package sweeps has each client talk to a server, and breaks the conversation at each byte, in each way: see package sweep.
// What each comes to is in testdata; FINDINGS.md tells what is wrong, and README.md has a table.
package sweeps

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/sweep"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	sockettest.Main(m)
}

// quiet keeps a client's log out of the tests' output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// A subject is what is swept.
type subject struct {
	name   string // of its map
	module string // and of its version in go.mod; empty is the standard library
	does   string // the conversation, for the table
	cfg    sweep.Config
	op     func(ctx context.Context, c *sweep.Case) error
}

// subjects are in the order of the table.
var subjects = []subject{
	pgxPool, pgxTwo, libpq, mysqlPool, redisClient, redisTwo, mongoClient, natsClient, httpClient, tlsClient, h2Client, grpcClient,
	gorillaClient, coderClient, sshClient, dnsClient, amqpClient, mqttClient, ldapClient, kafkaClient, franzClient,
	httpServer, grpcServer, sshServer,
}

var whole = flag.Bool("whole", false, "try all points and 1,000 pairs, and compare with no map")

// Each client's conversation, with each fault at its bytes. The maps have what comes of it.
func TestSweep(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			cfg := s.cfg
			switch {
			case *whole:
				cfg.Max, cfg.Pairs = 100_000, 1000
			default:
				cfg.Map, cfg.Pairs = "testdata/"+s.name+".map", -1
				if cfg.Max == 0 {
					cfg.Max = 3000
				}
			}
			if testing.Short() {
				cfg.Max = min(cfg.Max, 200)
			}
			sweep.Run(t, cfg, s.op)
		})
	}
}

// without are the default faults but some.
func without(names ...string) []sweep.Fault {
	return slices.DeleteFunc(sweep.DefaultFaults(), func(f sweep.Fault) bool { return slices.Contains(names, f.Name) })
}

// serving is a server that handles each connection.
func serving(handle func(net.Conn) error) func(net.Listener) error {
	return func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() {
				defer c.Close()
				_ = handle(c) // a client that goes away is no error here
			}()
		}
	}
}

// timeout is that of each client's operation, as one would set it.
const timeout = 5 * time.Second

// within gives an operation its timeout.
func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f(ctx)
}

// twice has two callers do the same at once, and once more. The other begins between two hops, which take 100 µs, so that what both
// do comes in one order.
func twice(f func() error) error {
	for range 2 {
		other := make(chan error, 1)
		go func() {
			time.Sleep(30 * time.Microsecond) // rules:allow virtual time
			other <- f()
		}()
		if err := errors.Join(f(), <-other); err != nil {
			return err
		}
	}
	return nil
}

// write writes texts.
func write(w io.Writer, texts ...string) error {
	for _, s := range texts {
		if _, err := io.WriteString(w, s); err != nil {
			return err
		}
	}
	return nil
}
