package sweeps

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	_ "unsafe" // for linkname

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

var natsAgain = subject{
	name: "nats-again", module: "github.com/nats-io/nats.go",
	does: "the same, a forced reconnect, and the same again; it connects again by itself; without silence and cancel, in which it is locked (FINDINGS.md, nats 2)",
	cfg: sweep.Config{Server: serving(serveNATS), Limit: 31 * time.Second, Workers: 1, // natsTimers is one
		Faults: without("silence", "silence-reset", "dead", "cut", "cancel")},
	op: func(ctx context.Context, c *sweep.Case) error {
		natsTimers = natsTimerPool{}
		nc, err := nats.Connect("nats://"+c.Addr(), nats.Token("secret"), nats.Timeout(timeout), nats.SetCustomDialer(natsDialer{c}),
			nats.ReconnectWait(time.Second), nats.ReconnectJitter(0, 0), nats.PingInterval(2*time.Second),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			return err
		}
		defer c.Close(func() error { nc.Close(); return nil })
		use := func(ctx context.Context) error { return useNATS(ctx, c, nc) }
		if err = use(ctx); err == nil {
			if err = nc.ForceReconnect(); err == nil {
				err = use(ctx)
			}
		}
		c.Recovers(use)
		return err
	},
}

// natsTimers is the client's, and of the whole process: a bubble must not find timers of another one in it.
//
//go:linkname natsTimers github.com/nats-io/nats%2ego.globalTimerPool
var natsTimers natsTimerPool

type natsTimerPool struct{ _ sync.Pool }

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
