package sweep

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures/tlsfault"
)

// An https conversation has the same length each time.
func TestHTTPSIsRepeatable(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("fin")
	cfg.Once, cfg.Max = nil, 20
	cfg.Server = func(ln net.Listener) error {
		srv := http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello, world")
		})}
		return srv.Serve(tls.NewListener(ln, tlsfault.ServerConfig()))
	}
	op := func(_ context.Context, c *Case) error {
		client := &http.Client{Transport: &http.Transport{DialContext: c.DialContext, TLSClientConfig: tlsfault.ClientConfig()}, Timeout: 5 * time.Second}
		c.Closer(func() error { client.CloseIdleConnections(); return nil })
		page, err := fetch(client, "https://"+c.Addr())
		if err == nil && page != "hello, world" {
			c.Errorf("got %q", page)
		}
		return err
	}
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: op}
	for range 10 { // a signature that varies does so half of the time
		require.NoError(t, s.begin())
		require.Empty(t, s.good.Varies)
	}
	answer := s.good.Conns[0].Answer
	names := map[string]bool{}
	for _, p := range s.points(true) {
		names[p.name()] = true
	}
	require.Greater(t, len(answer.Records), 3)
	for _, want := range []string{"request/record_1/first/fin", "answer/record_1/middle/fin", "answer/record_4/last/fin", "answer/byte_0/fin", "every/answer/record_2/first/fin"} {
		assert.True(t, names[want], want)
	}
	row, offset := s.chart(point{conn: connID{N: 1}, place: answering, at: answer.Records[2] + 7, fault: Fault{Name: "fin"}})
	assert.Equal(t, "answer fin, record 3", row)
	assert.Equal(t, 7, offset)
	text, _ := s.report(s.try())
	assert.NotContains(t, text, "not the same")
}

// A client that reads to the end takes FIN between two records for it, as crypto/tls does without
// a close_notify. No other byte of a long answer shows that.
func TestFINBetweenRecords(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("hello, world\n", 1500)
	cfg := rowsConfig("fin")
	cfg.Once = nil
	cfg.Server = func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() { // all records in one write
				var b together
				b.Conn = c
				defer c.Close()
				s := tls.Server(&b, tlsfault.ServerConfig())
				if _, err := io.ReadFull(s, make([]byte, 4)); err != nil {
					return
				}
				b.waits = true
				_, _ = io.WriteString(s, page)
				_ = s.CloseWrite()
				_ = c.SetDeadline(time.Time{})
				_, _ = c.Write(b.Bytes())
			}()
		}
	}
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: func(ctx context.Context, c *Case) error {
		conn, err := c.DialContext(ctx, "tcp", c.Addr())
		if err != nil {
			return err
		}
		s := tls.Client(conn, tlsfault.ClientConfig())
		defer s.Close()
		_ = s.SetDeadline(time.Now().Add(clientTimeout))
		if _, err := io.WriteString(s, "GET\n"); err != nil {
			return err
		}
		got, err := io.ReadAll(s)
		if err == nil && string(got) != page {
			c.Errorf("got %d of %d bytes", len(got), len(page))
		}
		return err
	}}
	require.NoError(t, s.begin())
	points := slices.DeleteFunc(s.points(false), func(p point) bool { return p.place != answering || p.spot == "" })
	text, bad := s.report(s.all(points), 0)
	assert.True(t, bad)
	assert.Regexp(t, `\n  wrong            answer bytes \d+, \d+, \d+, [\d, ]+ of \d+ \(from TLS record \d+, data, on\), fin: got \d+ of 19500 bytes`, text)
	assert.Regexp(t, `go test -run '\^TestFINBetweenRecords\$/\^answer\$/\^record_\d+\$/\^first\$/\^fin\$'`, text)
	assert.Equal(t, 1, strings.Count(text, "\n  wrong "), text)
}

// A together keeps what is written.
type together struct {
	net.Conn
	bytes.Buffer
	waits bool
}

func (t *together) Read(b []byte) (int, error) { return t.Conn.Read(b) }

func (t *together) Write(b []byte) (int, error) {
	if t.waits {
		return t.Buffer.Write(b)
	}
	return t.Conn.Write(b)
}

// Records are found behind plain text too, and not in what only begins like them.
func TestFindRecords(t *testing.T) {
	t.Parallel()
	hello := "\x16\x03\x01\x00\x02hi"
	for text, want := range map[string][]int{hello: {0}, "STARTTLS" + hello + "\x17\x03\x03\x00\x00": {8, 15}, hello + "\x17\x03\x03\x00\x02x": nil, "hi": nil,
		hello + "x": nil, "": nil, "\x17\x03\x03\x00\x00": nil} {
		var p part
		before, after, _ := strings.Cut(text, hello)
		p.add([]byte(before))
		if strings.Contains(text, hello) {
			p.add([]byte(hello + after))
		}
		p.findRecords()
		assert.Equal(t, want, p.Records, "%q", text)
	}
}
