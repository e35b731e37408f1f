package sweeps

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var gorillaClient = subject{
	name: "gorilla", module: "github.com/gorilla/websocket",
	does: "handshake, two messages and their echoes, a closing frame",
	cfg:  sweep.Config{Server: serveEcho, Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		echo := func(ctx context.Context) error {
			d := websocket.Dialer{NetDialContext: c.DialContext, HandshakeTimeout: timeout}
			ws, _, err := d.DialContext(ctx, "ws://"+c.Addr(), nil)
			if err != nil {
				return err
			}
			defer c.Close(ws.Close)
			_ = ws.SetReadDeadline(time.Now().Add(timeout))
			_ = ws.SetWriteDeadline(time.Now().Add(timeout))
			for _, want := range []string{"hello", "world"} {
				if err := ws.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
					return err
				}
				_, got, err := ws.ReadMessage()
				if err != nil {
					return err
				}
				assert.Equal(c, want, string(got))
			}
			return ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		}
		err := echo(ctx)
		c.Recovers(echo)
		return err
	},
}

var coderClient = subject{
	name: "coder", module: "github.com/coder/websocket",
	does: "the same, and the closing handshake",
	cfg:  sweep.Config{Server: serveEcho, Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		echo := func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			tr := &http.Transport{DialContext: c.DialContext}
			defer tr.CloseIdleConnections()
			ws, _, err := coder.Dial(ctx, "ws://"+c.Addr(), &coder.DialOptions{HTTPClient: &http.Client{Transport: tr}})
			if err != nil {
				return err
			}
			defer c.Close(ws.CloseNow)
			for _, want := range []string{"hello", "world"} {
				if err := ws.Write(ctx, coder.MessageText, []byte(want)); err != nil {
					return err
				}
				_, got, err := ws.Read(ctx)
				if err != nil {
					return err
				}
				assert.Equal(c, want, string(got))
			}
			return ws.Close(coder.StatusNormalClosure, "")
		}
		err := echo(ctx)
		c.Recovers(echo)
		return err
	},
}

func serveEcho(ln net.Listener) error {
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
			kind, b, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, b) != nil {
				return
			}
		}
	})}
	return srv.Serve(ln)
}
