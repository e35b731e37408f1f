package sweeps

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var natsClient = subject{
	name: "nats", module: "github.com/nats-io/nats.go",
	does: "token, a subscription, a request and its reply, a publish and a flush; no reconnect, whose timers no two bubbles may share",
	cfg:  sweep.Config{Server: serving(serveNATS), Limit: 16 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		use := func(ctx context.Context) error {
			nc, err := nats.Connect("nats://"+c.Addr(), nats.Token("secret"), nats.Timeout(timeout), nats.SetCustomDialer(natsDialer{c}), nats.NoReconnect())
			if err != nil {
				return err
			}
			defer c.Close(func() error { nc.Close(); return nil })
			return useNATS(ctx, c, nc)
		}
		err := use(ctx)
		c.Recovers(use)
		return err
	},
}

func useNATS(ctx context.Context, c *sweep.Case, nc *nats.Conn) error {
	return within(ctx, func(ctx context.Context) error {
		m, err := nc.RequestWithContext(ctx, "echo", []byte("hello"))
		if err != nil {
			return err
		}
		assert.Equal(c, "hello", string(m.Data))
		if err := nc.Publish("a", []byte("1")); err != nil {
			return err
		}
		return nc.FlushWithContext(ctx)
	})
}

// A natsDialer is what nats.SetCustomDialer takes; nats.Timeout does not bound it.
type natsDialer struct{ c *sweep.Case }

func (d natsDialer) Dial(network, address string) (conn net.Conn, err error) {
	err = within(context.Background(), func(ctx context.Context) error { // rules:allow the client has no context here
		conn, err = d.c.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func serveNATS(conn net.Conn) error {
	if err := write(conn, `INFO {"server_id":"x","version":"2.10.0","proto":1,"max_payload":1048576,"headers":true,"auth_required":true}`+"\r\n"); err != nil {
		return err
	}
	inbox, sid := "", ""
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		answer := ""
		switch words[0] {
		case "PING":
			answer = "PONG\r\n"
		case "SUB":
			inbox, sid = strings.TrimSuffix(words[1], "*"), words[len(words)-1]
		case "PUB":
			n := 0
			if _, err := fmt.Sscan(words[len(words)-1], &n); err != nil {
				return err
			}
			body := make([]byte, n+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return err
			}
			if reply := words[2]; len(words) == 4 && strings.HasPrefix(reply, inbox) {
				answer = fmt.Sprintf("MSG %s %s %d\r\n%s", reply, sid, n, body)
			}
		}
		if err := write(conn, answer); err != nil {
			return err
		}
	}
}
