package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/httpfault"
)

const (
	get  = "GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"
	post = "POST / HTTP/1.1\r\nHost: server.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

	// getH2 is a request of HTTP/2 (RFC 9113, sections 3.4, 6.5 and 6.2): the preface with no
	// settings, the acknowledgement of the server's, and ":method: GET".
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	getH2   = preface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00" + "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82"
)

// web are the fixtures of package httpfault.
var web = []Row{
	{Fixture: httpfault.OK{}, Say: get, Judge: on(answersRequests(http1))},
	{Fixture: httpfault.OK{}, Special: "HTTP/2", Say: getH2, Judge: on(answersRequests(http2))},
	{Fixture: httpfault.Stall{}, Say: get, Judge: on(answersNothing(get)), Bad: map[string]any{
		"Stall.AfterWritten is -1; want 0 (none of the body) or more": httpfault.Stall{At: httpfault.MidBody, AfterWritten: -1},
		"Stall.AfterWritten is 3; want 0, or At MidBody or MidChunk":  httpfault.Stall{AfterWritten: 3},
		"Stall.AfterWritten is 67108865; want at most 67108864":       httpfault.Stall{At: httpfault.MidBody, AfterWritten: 64<<20 + 1},
		`Stall.At is "soon"; want BeforeHeader, MidBody or MidChunk`:  httpfault.Stall{At: "soon"},
	}},
	{Fixture: httpfault.DripHeader{Every: delay / 3}, Say: get, Judge: on(dripsHeader), Bad: map[string]any{
		"DripHeader.Every is -1s; want 0 (default 10ms) or more": httpfault.DripHeader{Every: -time.Second},
	}},
	{Fixture: httpfault.EndlessHeader{}, Say: get, Judge: on(sendsNoEndOfHeader)},
	{Fixture: httpfault.NoContinue{}, Say: get, Judge: on(answersNothing(post))},
	{Fixture: httpfault.RejectBody{}, Say: get, Judge: on(rejects(417)), Bad: map[string]any{
		"RejectBody.Status is 100; want a final status, 200 to 599, or 0 (default 417)": httpfault.RejectBody{Status: 100},
		"RejectBody.Status is -1; want a final status":                                  httpfault.RejectBody{Status: -1},
	}},
	{Fixture: httpfault.Stall{At: httpfault.MidBody, AfterWritten: 3}, Special: "at MidBody", Say: get,
		Judge: on(answersInPart(conn.silent))},
	{Fixture: httpfault.Close{}, Say: get, Judge: on(Says(get, "")), Bad: map[string]any{
		"Close.AfterWritten is -1; want 0 (none of the body) or more": httpfault.Close{At: httpfault.MidChunk, AfterWritten: -1},
	}},
	{Fixture: httpfault.Close{At: httpfault.MidBody, AfterWritten: 3}, Special: "at MidBody", Say: get,
		Judge: on(answersInPart(func(c conn) error { return c.ends("") }))},
	{Fixture: httpfault.Close{At: httpfault.MidChunk}, Special: "at MidChunk", Say: get, Judge: on(cutsChunk)},
	{Fixture: httpfault.Reset{}, Say: get, Judge: on(resetsAnswer), First: true, Bad: map[string]any{
		"Reset.AfterWritten is -1; want 0 (none of the body) or more": httpfault.Reset{At: httpfault.MidBody, AfterWritten: -1},
	}},
	{Fixture: httpfault.Reset{At: httpfault.MidBody}, Special: "at MidBody", Say: get, Judge: on(resetsAnswer), First: true},
	{Fixture: httpfault.CloseOnReuse{}, Say: get, Judge: on(closesOnReuse)},
	{Fixture: httpfault.H2NoSettings{}, Say: getH2, Judge: on(answersNothing(getH2))},
	{Fixture: httpfault.H2NeverAnswers{}, Say: getH2, Judge: on(hangs(http2, 0))},
	{Fixture: httpfault.H2NoPing{}, Say: getH2, Judge: on(answersNoPing)},
	{Fixture: httpfault.H2NoWindow{}, Say: getH2, Judge: on(hangs(http2, 128<<10))},
	{Fixture: httpfault.H2NeverRead{}, Say: getH2, Judge: on(hangsAfter(fixtures.ConnAccepted, http2, 16<<20))},
	{Fixture: httpfault.H2GoAway{}, Say: getH2, Judge: on(sendsAway), Bad: map[string]any{
		"H2GoAway.Times is -1; want 0 (default 1) or more": httpfault.H2GoAway{Times: -1},
	}},
	{Fixture: httpfault.H2ResetStream{}, Say: getH2, Judge: on(resetsStream), Bad: map[string]any{
		"H2ResetStream.Times is -1; want 0 (all) or more": httpfault.H2ResetStream{Times: -1},
	}},
}

// A maker makes a client whose every connection leads to the endpoint.
type maker func(*fixtures.Endpoint) *http.Transport

func http1(ep *fixtures.Endpoint) *http.Transport {
	return &http.Transport{DialContext: ep.DialContext}
}

// http2 speaks HTTP/2 and nothing else, with prior knowledge.
func http2(ep *fixtures.Endpoint) *http.Transport {
	tr := http1(ep)
	tr.Protocols, tr.HTTP2 = new(http.Protocols), new(http.HTTP2Config)
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

// request makes a request with a body of n bytes, and wants the answer of OK.
func request(ctx context.Context, tr *http.Transport, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server.test/", strings.NewReader(strings.Repeat(".", n)))
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(b) != "ok") {
		err = fmt.Errorf("got %s, %q", resp.Status, b)
	}
	return err
}

func answersRequests(client maker) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		tr := client(ep)
		defer tr.CloseIdleConnections()
		return "", errors.Join(request(ctx, tr, 0), request(ctx, tr, 5))
	}
}

// hangs: the request gets no answer within a moment, counted from when it came.
func hangs(client maker, n int) func(context.Context, *fixtures.Endpoint) (string, error) {
	return hangsAfter(fixtures.Received, client, n)
}

// hangsAfter: the request gets no answer within a moment from such an event. Not every kernel shows
// how much of it has come where nothing is read.
func hangsAfter(kind fixtures.EventKind, client maker, n int) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		before := count(ep, kind)
		tr := client(ep)
		defer tr.CloseIdleConnections()
		ctx, cancel := context.WithCancel(ctx)
		over := make(chan error, 1)
		go func() { over <- request(ctx, tr, n) }()
		defer func() { cancel(); <-over }()
		if err := ep.Await(ctx, kind, before+1); err != nil {
			return "", fmt.Errorf("no request came: %w", err)
		}
		timer := time.NewTimer(quiet(ep.Stack()))
		defer timer.Stop()
		select {
		case <-timer.C:
			return "", nil
		case err := <-over:
			over <- nil
			return "", fmt.Errorf("a request should have waited, and returned %w", orNil(err))
		}
	}
}

func answersNothing(request string) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return tell(ctx, ep, request, func(c conn) (string, error) { return "", c.silent() })
	}
}

// dripsHeader: four bytes come with three pauses, and more follow.
func dripsHeader(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now()
	return tell(ctx, ep, get, func(c conn) (string, error) {
		if err := c.expect("HTTP"); err != nil {
			return "", err
		}
		note, err := took("a header's beginning", begin, delay)
		return note, errors.Join(err, c.expect("/"))
	})
}

func sendsNoEndOfHeader(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, get, func(c conn) (string, error) {
		head := make([]byte, 64<<10)
		_, err := io.ReadFull(c, head)
		if err == nil && bytes.Contains(head, []byte("\r\n\r\n")) {
			err = errors.New("a header ended")
		}
		return fmt.Sprintf("%d KiB and no end", len(head)>>10), err
	})
}

func rejects(status int) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return tell(ctx, ep, post, func(c conn) (string, error) {
			if err := c.expect(fmt.Sprintf("HTTP/1.1 %d ", status)); err != nil {
				return "", err
			}
			_, err := io.Copy(io.Discard, c) // to FIN
			return "", err
		})
	}
}

// head reads the header of an answer, byte by byte so as to leave the rest.
func (c conn) head() error {
	for head, b := []byte(nil), make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b...) {
		if _, err := c.Read(b); err != nil {
			return fmt.Errorf("reading a header, got %q: %w", head, err)
		}
	}
	return nil
}

// answersInPart: a header, three bytes of the body, and then something else than the rest.
func answersInPart(then func(conn) error) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return tell(ctx, ep, get, func(c conn) (string, error) {
			if err := errors.Join(c.head(), c.expect("...")); err != nil {
				return "", err
			}
			return "", then(c)
		})
	}
}

func resetsAnswer(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, get, func(c conn) (string, error) { return "", c.isReset() })
}

func cutsChunk(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, get, func(c conn) (string, error) {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			return "", fmt.Errorf("a chunk should have been cut short, and reading it returned %w", orNil(err))
		}
		return strings.Join(resp.TransferEncoding, ","), nil
	})
}

// closesOnReuse: one request is answered, and the next one meets FIN.
func closesOnReuse(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return tell(ctx, ep, get, func(c conn) (string, error) {
		return "", errors.Join(c.head(), c.expect("ok"), c.say(get), c.ends(""))
	})
}

// answersNoPing: after a request and a PING, the server sends its settings and no acknowledgement
// (RFC 9113, section 6.7).
func answersNoPing(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	const opaque = "12345678"
	return tell(ctx, ep, getH2+"\x00\x00\x08\x06\x00\x00\x00\x00\x00"+opaque, func(c conn) (string, error) {
		if _, err := io.ReadFull(c, make([]byte, 9)); err != nil { // the header of a frame
			return "", fmt.Errorf("reading the server's settings: %w", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(c.quiet))
		got, err := io.ReadAll(c)
		if bytes.Contains(got, []byte(opaque)) || !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("a PING should not have been answered; got %q and %w", got, orNil(err))
		}
		return "", nil
	})
}

// sendsAway: the client comes back on another connection, and is served.
func sendsAway(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	tr, before := http2(ep), len(ep.Conns())
	defer tr.CloseIdleConnections()
	err := request(ctx, tr, 0)
	if n := len(ep.Conns()) - before; err == nil && n < 2 {
		err = fmt.Errorf("%d connections; want 2 or more", n)
	}
	return "", err
}

func resetsStream(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	tr := http2(ep)
	defer tr.CloseIdleConnections()
	if err := request(ctx, tr, 0); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR; received from peer") {
		return "", fmt.Errorf("a stream should have been reset, and a request returned %w", orNil(err))
	}
	return "", nil
}
