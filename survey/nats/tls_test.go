package nats

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// overTLS makes the client speak TLS from its first byte on.
func overTLS() []nats.Option {
	return []nats.Option{nats.Secure(tlsfault.ClientConfig()), nats.TLSHandshakeFirst()}
}

func TestNATSOverTLS(t *testing.T) {
	t.Parallel()
	const limit = "nats.Timeout (default 2s)"
	stalled, secured := tlsfault.Stall{At: tlsfault.AfterServerHello}, tlsfault.OverTLS{Then: silent}
	exam.Run(t, client.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: limit, Want: exam.AtLimit(sockettest.TimedOut).In("read"), Op: connect(overTLS()...)},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: "none needed", Want: exam.AtOnce(sockettest.Rejected).In("handshake"), Op: connect(overTLS()...)},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: "the context of RequestWithContext", Want: exam.AtLimit(sockettest.TimedOut), Op: request(overTLS()...)},
		{Name: exam.SecuredSilent + ", no limit", Fixture: secured, Knob: "none", Want: exam.Never(), Op: next(overTLS()...)},
		// FINDINGS.md, nats 1, at a server whose certificate has been replaced.
		{Name: exam.Untrusted + ", reconnect", Fixture: fixtures.Sequence{secured, tlsfault.Untrusted{}}, Knob: "nats.MaxReconnects (default 60), nats.ReconnectWait (default 2s)",
			Want: exam.AtOnce(sockettest.ErrorIs(nats.ErrNoServers)).Plus(3 * 2 * time.Second), Op: reconnect(overTLS()...),
			Leak: "leak: 2 connections left behind", SimnetOnly: "on the kernel the garbage collector closes them, sooner or later"},
	})
}

// FINDINGS.md, nats 4: nats.ReconnectErrHandler is called for an attempt that cannot connect, and not for one that fails in its
// handshake.
func TestReconnectErrHandlerIsNotCalled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		then   fixtures.Fixture
		called int
	}{
		{"refused", fixtures.Refused{}, 3},
		{"not trusted", tlsfault.Untrusted{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				p := exam.Place{Virtual: true, Endpoint: sockettest.Start(t, tlsfault.OverTLS{Then: silent}, sockettest.On(simnet.New(t)))}
				var called atomic.Int32
				more := append(overTLS(), nats.ReconnectErrHandler(func(*nats.Conn, error) { called.Add(1) }),
					nats.DisconnectErrHandler(func(*nats.Conn, error) { assert.NoError(t, p.Become(tt.then)) }))
				sockettest.Expect(t, p.Endpoint, sockettest.ErrorIs(nats.ErrNoServers).At(3*2*time.Second), reconnect(more...)(t, p))
				assert.EqualValues(t, tt.called, called.Load())
			})
		})
	}
}
