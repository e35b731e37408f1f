package sweep

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Limit: 1}, "Config.Server and Config.Fixture are nil; want what the client talks to, such as Server:" +
			" func(ln net.Listener) error { return http.Serve(ln, handler) }"},
		{Config{Limit: 1, Server: serveRows, Fixture: fixtures.Echo{}}, "Config.Server and Config.Fixture are both set; want one of them"},
		{Config{Server: serveRows}, "Config.Limit is 0s; want how long the operation may take whatever happens: more than 0, and not its" +
			" client's own timeout"},
		{Config{Server: serveRows, Limit: 1, Grace: -1}, "Config.Grace is -1ns; want 0 (20s) or more"},
		{Config{Server: serveRows, Limit: 1, Workers: -1}, "Config.Workers is -1; want 0 (GOMAXPROCS) or more"},
		{Config{Server: serveRows, Limit: 1, Once: []string{""}}, "Config.Once[0] is empty; want the bytes of a request"},
		{Config{Server: serveRows, Limit: 1, Faults: []Fault{{Name: "a b", Do: fixtures.SendFIN()}}}, `Config.Faults[0] is "a b", SendFIN(); want a name` +
			` without slashes and spaces, and an effect`},
		{Config{Server: serveRows, Limit: 1, Faults: []Fault{{Name: "a"}}}, `Config.Faults[0] is "a", ; want a name without slashes and spaces,` +
			` and an effect`},
	} {
		require.EqualError(t, tt.cfg.check(), tt.want)
	}
}

// What is wrong without any fault ends the sweep before it begins.
func TestBadConversation(t *testing.T) {
	t.Parallel()
	get := func(line string) func(context.Context, *Case) error {
		return func(ctx context.Context, c *Case) error {
			conn, err := c.DialContext(ctx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, line+"\n"); err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 4))
			return err
		}
	}
	for _, tt := range []struct {
		server func(net.Listener) error
		op     func(context.Context, *Case) error
		want   string
	}{
		{nil, func(context.Context, *Case) error { return errors.New("no such table") },
			"without any fault, the operation failed: no such table; want a conversation that works"},
		{nil, func(context.Context, *Case) error { return nil },
			"the operation never connected to the server; want it to dial Case.Addr with Case.DialContext"},
		{nil, func(_ context.Context, c *Case) error { c.Errorf("got %d", 1); return nil }, "without any fault, good: wrong: got 1"},
		{nil, func(context.Context, *Case) error { runtime.Goexit(); return nil },
			"without any fault, good: wrong: the operation called runtime.Goexit: give assertions the *sweep.Case, not the test"},
		{nil, func(context.Context, *Case) error { panic("oh") }, "without any fault, good: panics: the operation panicked: oh"},
		{nil, func(ctx context.Context, _ *Case) error { <-ctx.Done(); return nil },
			"without any fault, good: hangs: the operation had not returned after 55s, and ended when its context was cancelled"},
		{func(net.Listener) error { return errors.New("no licence") }, get("HI"),
			"Config.Server returned during the conversation: no licence; want it to serve until ln is closed"},
		{func(ln net.Listener) error { _ = serveRows(ln); select {} }, get("HI"), "without any fault, good: leaks: goroutines were left behind"},
	} {
		cfg := Config{Server: serveRows, Limit: 11 * time.Second}
		if tt.server != nil {
			cfg.Server = tt.server
		}
		require.NoError(t, cfg.check())
		err := (&sweep{t: t, cfg: cfg, op: tt.op}).begin()
		if assert.Error(t, err, tt.want) {
			assert.True(t, strings.HasPrefix(err.Error(), tt.want), "%v\n%s", err, tt.want)
		}
	}
}
