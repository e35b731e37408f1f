package grpc_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestServer(t *testing.T) {
	t.Parallel()
	const (
		handshaking = "ConnectionTimeout (default 120s)"
		alive       = "ServerParameters.Time (default 2h) and Timeout (default 20s)"
		enforced    = "EnforcementPolicy (default: no PING within 5m of the last, or without a call within 2h)"
		second      = "Time is 1 s at least"
	)
	connectOnly := func(target string) hostile.Fixture { return hostile.ConnectOnly{Target: target} }
	slowPreface := func(target string) hostile.Fixture {
		return hostile.Slowloris{Target: target, Data: http2.ClientPreface, Every: time.Hour}
	}
	slowRequest := func(target string) hostile.Fixture {
		return hostile.Slowloris{Target: target, Data: hello + request, Every: time.Second}
	}
	const helloIsOver = 32 * time.Second // of its 33 bytes the last comes then: no more frame does in time
	exam.Defend(t, exam.Client{Name: "grpc-go server", Module: "google.golang.org/grpc"}, []exam.Attack{
		{Name: "connects, then silent", Client: connectOnly, Knob: handshaking, Serve: connectionTimeout, Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "preface a byte at a time", Client: slowPreface, Knob: handshaking, Serve: connectionTimeout, Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "preface, then silent", Client: exam.Says(http2.ClientPreface), Knob: handshaking, Serve: connectionTimeout, Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "settings, then silent", Client: exam.Says(hello), Knob: "ServerParameters.Time and Timeout, as they come", Serve: connectionTimeout,
			Want: exam.AtOnce(sockettest.Disconnected).Plus(2*time.Hour + 20*time.Second), SimnetOnly: "2 h"},
		{Name: "settings, then silent, with keep-alive", Client: exam.Says(hello), Knob: alive, Serve: keepAlive,
			Want: exam.AtLimit(sockettest.Disconnected).Plus(time.Second), SimnetOnly: second},
		{Name: "request, then silent, with keep-alive", Client: exam.Says(hello + request), Knob: alive, Serve: keepAlive,
			Want: exam.AtLimit(sockettest.Disconnected).Plus(time.Second), SimnetOnly: second},
		{Name: "request a byte at a time, with keep-alive", Client: slowRequest, Knob: alive, Serve: keepAlive,
			Want: exam.AtLimit(sockettest.Disconnected).Plus(helloIsOver + time.Second), SimnetOnly: second},
		{Name: "settings, then silent, idle", Client: exam.Says(hello), Knob: "ServerParameters.MaxConnectionIdle (default none), then 5 s and 1 s", Serve: maxIdle,
			Want: exam.AtLimit(sockettest.Disconnected).Plus(6 * time.Second), SimnetOnly: "5 s for the GOAWAY and 1 s for the FIN cannot be set"},
		{Name: "request, then silent, idle", Client: exam.Says(hello + request), Knob: "ServerParameters.Time and Timeout, as they come; not MaxConnectionIdle", Serve: maxIdle,
			Want: exam.AtOnce(sockettest.Disconnected).Plus(2*time.Hour + 20*time.Second), SimnetOnly: "2 h"},
		{Name: "four PINGs at once", Client: exam.Says(hello + strings.Repeat(ping, 4)), Knob: enforced, Serve: connectionTimeout,
			Want: exam.AtOnce(sockettest.Disconnected).Plus(time.Second)}, // GOAWAY at once, and 1 s for the client to go
		{Name: "three PINGs at once", Client: exam.Says(hello + strings.Repeat(ping, 3)), Knob: enforced, Serve: connectionTimeout,
			Want: exam.AtOnce(sockettest.Disconnected).Plus(2*time.Hour + 20*time.Second), SimnetOnly: "2 h"}, // not for them
	})
}

func connectionTimeout(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	serve(t, ln, grpc.ConnectionTimeout(p.Limit))
}

func keepAlive(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	serve(t, ln, grpc.KeepaliveParams(keepalive.ServerParameters{Time: p.Limit, Timeout: time.Second}))
}

func maxIdle(t testing.TB, ln net.Listener, p exam.Place) {
	t.Helper()
	serve(t, ln, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: p.Limit}))
}

// serve runs a server until the test ends.
func serve(t testing.TB, ln net.Listener, options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	srv := newServer(options...)
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, srv.Serve(ln)) })
	t.Cleanup(func() {
		srv.Stop()
		wg.Wait()
	})
	return srv
}
