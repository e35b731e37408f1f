package grpc_test

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/network"
)

// midway resets once it has read the client's preface (RFC 9113, section 3.4).
var midway = fixtures.Scripted{Steps: script.Script{script.Match(http2.ClientPreface), settings(), script.Reset()}}

// established is a server that shakes hands, and never says anything more: no answer, and no acknowledgement of a PING.
var established = fixtures.Scripted{Steps: script.Script{script.Match(http2.ClientPreface), settings(),
	script.Send(frames(func(f *http2.Framer) { _ = f.WriteSettings() })), script.Discard()}}

// settings reads the other side's first frame.
func settings() script.Step {
	return script.Do(func(_ context.Context, c script.Conn) error {
		_, err := http2.NewFramer(io.Discard, c).ReadFrame()
		return err
	})
}

// frames returns what write writes.
func frames(write func(*http2.Framer)) string {
	var b bytes.Buffer
	write(http2.NewFramer(&b, nil))
	return b.String()
}

// hello is what a client begins with.
var hello = http2.ClientPreface + frames(func(f *http2.Framer) { _ = f.WriteSettings() })

// request begins a call of the health service, whose message never comes.
var request = frames(func(f *http2.Framer) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: headers(
		":method", "POST", ":scheme", "http", ":path", healthpb.Health_Check_FullMethodName, ":authority", "test",
		"content-type", "application/grpc", "te", "trailers")})
})

func headers(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

// ping asks whether the server is there.
var ping = frames(func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{1}) })

// A server is grpc-go's own, with the health service, on the connections of a fixture, which can be cut.
type server struct{ options []grpc.ServerOption }

// Plan makes it a [fixtures.Fixture].
func (s server) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{
		State: network.State{Answer: network.Listen},
		Serve: func(ctx context.Context, c *fixtures.Conn) error {
			ln := &one{conn: make(chan *fixtures.Conn, 1), closed: make(chan struct{})}
			ln.conn <- c
			srv := newServer(s.options...)
			defer context.AfterFunc(ctx, srv.Stop)()
			return srv.Serve(ln)
		},
		Rule: "an HTTP/2 connection has no idle timeout of its own: PING reports whether the other side is there (RFC 9113, section 6.7)",
	}, nil
}

// newServer has the health service, which answers a Check at once and a Watch when there is news, which there is not.
func newServer(options ...grpc.ServerOption) *grpc.Server {
	srv := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(srv, health.NewServer())
	return srv
}

// stuffed is a server that allows for a message of 32 MiB, and then reads nothing of it: the client's write blocks.
var stuffed = fixtures.Scripted{Steps: script.Script{script.Match(http2.ClientPreface), settings(),
	script.Send(frames(func(f *http2.Framer) {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 32 << 20})
		_ = f.WriteWindowUpdate(0, 32<<20)
	})), script.Stall()}}
