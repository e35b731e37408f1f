package sweep_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sweep"
)

// Tests that the examples show, by name.
var examples = map[string]func(t *testing.T){}

func TestExamples(t *testing.T) {
	t.Parallel()
	ExampleRun()
	ExampleFault()
	for name, test := range examples {
		t.Run(name, test)
	}
}

// A client and a real server, in the process of the test.
func ExampleRun() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello, world") })

	examples["TestFetch"] = func(t *testing.T) { // func TestFetch(t *testing.T)
		cfg := sweep.Config{Server: func(ln net.Listener) error { return http.Serve(ln, handler) }, Limit: 11 * time.Second}
		sweep.Run(t, cfg, func(_ context.Context, c *sweep.Case) error {
			client := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}, Timeout: 5 * time.Second}
			defer c.Close(func() error { client.CloseIdleConnections(); return nil })
			resp, err := client.Get("http://" + c.Addr())
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			page, err := io.ReadAll(resp.Body)
			if err == nil {
				require.Equal(c, "hello, world", string(page))
			}
			return err
		})
	}
}

// A server under test: the client is a good one, and each connection that a fault has struck must
// be ended within ServerLimit.
func ExampleRun_server() {
	serve := func(ln net.Listener) error {
		server := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second} // under test
		return server.Serve(ln)
	}

	_ = func(t *testing.T) { // func TestServer(t *testing.T)
		cfg := sweep.Config{Server: serve, Limit: 11 * time.Second, ServerLimit: 21 * time.Second}
		sweep.Run(t, cfg, func(_ context.Context, c *sweep.Case) error {
			get := func(context.Context) error {
				client := &http.Client{Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}, Timeout: 5 * time.Second}
				resp, err := client.Get("http://" + c.Addr())
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			err := get(nil)
			c.Recovers(get)
			return err
		})
	}
}

// A fault of one's own: from a byte on the line is slow. The server is a script.
func ExampleFault() {
	pong := fixtures.Scripted{Steps: script.Script{script.Match("PING\n"), script.Send("PONG\n"), script.Close()}}

	examples["TestSlowLine"] = func(t *testing.T) { // func TestSlowLine(t *testing.T)
		slow := sweep.Fault{Name: "slow", Do: fixtures.LimitRate(10), Harmless: true} // bytes a second
		cfg := sweep.Config{Fixture: pong, Limit: 3 * time.Second, Faults: append(sweep.DefaultFaults(), slow)}
		sweep.Run(t, cfg, func(ctx context.Context, c *sweep.Case) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			conn, err := c.DialContext(ctx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := io.WriteString(conn, "PING\n"); err != nil {
				return err
			}
			answer, err := io.ReadAll(conn)
			if err == nil && len(answer) < 5 {
				return io.ErrUnexpectedEOF
			}
			return err
		})
	}
}
