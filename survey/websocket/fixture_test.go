// Package websocket_test holds two WebSocket libraries to their timeouts, as clients and as servers:
// github.com/gorilla/websocket and github.com/coder/websocket.
package websocket_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestMain(m *testing.M) { sockettest.Main(m) }

// upgraded is a server that shakes hands, and never says anything more.
var upgraded = fixtures.Scripted{Steps: script.Script{shake(accept), script.Discard()}}

// obliging is a server that shakes hands, says something, answers pings, and closes when it is asked to.
var obliging = exam.Honest(fixtures.Scripted{Steps: script.Script{shake(accept), script.Send("\x81\x02ok"), script.Do(control)}})

// quiet is one that says nothing of its own accord.
var quiet = exam.Honest(fixtures.Scripted{Steps: script.Script{shake(accept), script.Do(control)}})

// control answers frames of control, which are short, and passes over all others (RFC 6455, section 5).
func control(_ context.Context, c script.Conn) error {
	const closing, ping = 8, 9
	for {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		opcode, length := head[0]&15, int64(head[1]&127)
		if wider := map[int64]int{126: 2, 127: 8}[length]; wider > 0 {
			b := make([]byte, 8)
			if _, err := io.ReadFull(c, b[8-wider:]); err != nil {
				return err
			}
			length = int64(binary.BigEndian.Uint64(b))
		}
		if opcode != closing && opcode != ping {
			if _, err := io.CopyN(io.Discard, c, 4+length); err != nil {
				return err
			}
			continue
		}
		b := make([]byte, 4+length) // the mask, and what is masked by it
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		for i := range b[4:] {
			b[4+i] ^= b[i%4]
		}
		answer := opcode
		if opcode == ping {
			answer++
		}
		if _, err := c.Write(append([]byte{0x80 | answer, byte(length)}, b[4:]...)); err != nil || opcode == closing {
			return err
		}
	}
}

// misfit is one whose handshake does not fit the client's key.
var misfit = fixtures.Scripted{Steps: script.Script{shake(func(string) string { return "?" }), script.Discard()}}

// forbidden is one that does not shake hands, and does not say all that it announces.
var forbidden = fixtures.Scripted{Steps: script.Script{script.ReadUntil("\r\n\r\n"),
	script.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n"), script.Discard()}}

// midway resets once it has read the client's handshake.
var midway = fixtures.Scripted{Steps: script.Script{script.ReadUntil("\r\n\r\n"), script.Reset()}}

// shake reads the client's handshake and sends the server's (RFC 6455, section 4.2.2).
func shake(accept func(key string) string) script.Step {
	return script.Do(func(_ context.Context, c script.Conn) error {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			accept(req.Header.Get("Sec-WebSocket-Key")))
		return err
	})
}

// accept is the answer to the client's key (RFC 6455, section 1.3).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hello is the client's handshake.
const hello = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// serveHTTP runs a server until the test ends.
func serveHTTP(t testing.TB, ln net.Listener, srv *http.Server) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { assert.ErrorIs(t, srv.Serve(ln), http.ErrServerClosed) })
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
		if now := time.Now(); now == now.Round(0) { // no monotonic clock reading
			time.Sleep(time.Second) // rules:allow in a bubble, which must not end before net/http's half-closed connections
		}
	})
}

// brief says why a briefly is for simnet only.
const brief = "on a busy machine nobody shakes hands within timeouts of 20 ms"

// briefly is a server whose own timeouts are all much shorter than what its test waits for.
func briefly(p exam.Place, h http.HandlerFunc) *http.Server {
	if !p.Virtual {
		return &http.Server{Handler: h}
	}
	d := p.Limit / 10
	return &http.Server{Handler: h, ReadHeaderTimeout: d, ReadTimeout: d, WriteTimeout: d, IdleTimeout: d}
}
