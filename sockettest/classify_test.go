package sockettest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

// selfish hides what it wraps, but for its methods.
type selfish struct{ timeout bool }

func (selfish) Error() string   { return "selfish" }
func (s selfish) Timeout() bool { return s.timeout }

// above says Timeout, as what it wraps may.
type above struct{ error }

func (above) Timeout() bool   { return true }
func (a above) Unwrap() error { return a.error }

type claiming struct{ target error }

func (claiming) Error() string          { return "claiming" }
func (c claiming) Is(target error) bool { return target == c.target }

// endless wraps itself.
type endless struct{}

func (endless) Error() string   { return "endless" }
func (e endless) Unwrap() error { return e }

func op(name string, err error) error { return &net.OpError{Op: name, Net: "tcp", Err: err} }

func sys(call string, e syscall.Errno) error { return os.NewSyscallError(call, e) }

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want []Class
	}{
		{"nil", nil, []Class{{Accepted, "call", ""}}},
		{"refused", op("dial", sys("connect", syscall.ECONNREFUSED)), []Class{{Rejected, "connect", ""}}},
		{"dial timeout, one sentinel", op("dial", os.ErrDeadlineExceeded), []Class{{TimedOut, "connect", "deadline"}}},
		{"dial timeout, the other", op("dial", claiming{context.DeadlineExceeded}), []Class{{TimedOut, "connect", "deadline"}}},
		{"read deadline", op("read", os.ErrDeadlineExceeded), []Class{{TimedOut, "read", "deadline"}}},
		{"context", fmt.Errorf("query: %w", context.DeadlineExceeded), []Class{{TimedOut, "call", "context"}}},
		{"the kernel's own", op("dial", sys("connect", syscall.ETIMEDOUT)), []Class{{TimedOut, "connect", "kernel"}}},
		{"by its method only", selfish{true}, []Class{{TimedOut, "call", "deadline"}}},
		{"wrapped, by its method", fmt.Errorf("driver: %w", selfish{true}), []Class{{TimedOut, "call", "deadline"}}},
		{"the kernel's own, far below what says Timeout", above{fmt.Errorf("driver: %w", sys("connect", syscall.ETIMEDOUT))},
			[]Class{{TimedOut, "connect", "kernel"}}},
		{"EOF", op("read", io.EOF), []Class{{Closed, "read", ""}}},
		{"unexpected EOF", io.ErrUnexpectedEOF, []Class{{Closed, "call", ""}}},
		{"reset", op("read", sys("read", syscall.ECONNRESET)), []Class{{ResetByPeer, "read", ""}}},
		{"reset, of which a client shows the system call only", fmt.Errorf("redis: %w", sys("read", syscall.ECONNRESET)), []Class{{ResetByPeer, "read", ""}}},
		{"broken pipe", op("write", sys("write", syscall.EPIPE)), []Class{{ResetByPeer, "write", ""}}},
		{"canceled", op("dial", claiming{context.Canceled}), []Class{{Canceled, "connect", ""}}},
		{"own socket closed", op("accept", net.ErrClosed), []Class{{SelfClosed, "accept", ""}}},
		{"unreachable", op("dial", sys("connect", syscall.ENETUNREACH)), []Class{{Unreachable, "connect", ""}}},
		{"no descriptors", op("dial", sys("socket", syscall.EMFILE)), []Class{{Exhausted, "connect", ""}}},
		{"no ports", op("dial", sys("connect", syscall.EADDRNOTAVAIL)), []Class{{Exhausted, "connect", ""}}},
		{"full unix backlog, which says Timeout", op("dial", sys("connect", syscall.EAGAIN)), []Class{{Exhausted, "connect", ""}}},
		{"no such name", op("dial", &net.DNSError{IsNotFound: true}), []Class{{NotFound, "resolve", ""}}},
		{"name server silent", op("dial", &net.DNSError{IsTimeout: true}), []Class{{TimedOut, "resolve", "deadline"}}},
		{"name server confused", op("dial", &net.DNSError{Err: "server misbehaving"}), []Class{{Other, "resolve", ""}}},
		{"malformed address", op("dial", &net.AddrError{Err: "missing port", Addr: "x"}), []Class{{Rejected, "connect", ""}}},
		{"unknown network", op("dial", net.UnknownNetworkError("pigeon")), []Class{{Rejected, "connect", ""}}},
		{"joined: no branch is lost", errors.Join(op("dial", sys("connect", syscall.ECONNREFUSED)), op("dial", os.ErrDeadlineExceeded)),
			[]Class{{Rejected, "connect", ""}, {TimedOut, "connect", "deadline"}}},
		{"joined: repeats are one", errors.Join(op("read", io.EOF), op("read", io.EOF)), []Class{{Closed, "read", ""}}},
		{"joined: what tells nothing is left out", errors.Join(errors.New("pool"), io.EOF), []Class{{Closed, "call", ""}}},
		{"unclassified", errors.New("invalid connection"), []Class{{Other, "call", ""}}},
		{"unclassified, in a phase", op("read", errors.New("?")), []Class{{Other, "read", ""}}},
		{"it wraps itself", endless{}, []Class{{Other, "call", ""}}},
		{"a certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, []Class{{Rejected, "handshake", ""}}},
		{"no TLS", fmt.Errorf("dial: %w", tls.RecordHeaderError{Msg: "no record"}), []Class{{Rejected, "handshake", ""}}},
		{"the other side's alert", op("remote error", errors.New("tls: bad certificate")), []Class{{Rejected, "handshake", ""}}},
		{"our own alert", op("local error", errors.New("tls: bad record MAC")), []Class{{Other, "handshake", ""}}},
		{"url.Error", &url.Error{Op: "Get", Err: op("dial", sys("connect", syscall.ECONNREFUSED))}, []Class{{Rejected, "connect", ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, Classify(tt.err))
		})
	}
}

// The coin toss of a dial's timeout, from the real thing: every one of many is told the same.
func TestClassifyRealDialTimeouts(t *testing.T) {
	t.Parallel()
	ep := Start(t, fixtures.BlackHole{})
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		d := net.Dialer{}
		if i%2 == 0 {
			d.Timeout = time.Millisecond
		}
		_, err := d.DialContext(ctx, "tcp", ep.Addr())
		cancel()
		require.Equal(t, []Class{{TimedOut, "connect", "deadline"}}, Classify(err), "%v", err)
	}
}

func TestClassifyRealErrors(t *testing.T) {
	t.Parallel()
	silent, refused := Start(t, fixtures.Silent{}), Start(t, fixtures.Refused{})
	client := &http.Client{Timeout: 20 * time.Millisecond, Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	_, err := client.Get("http://" + silent.Addr())
	require.Equal(t, TimedOut, Classify(err)[0].Outcome, "%v", err)
	client.Timeout = 0
	_, err = client.Get("http://" + refused.Addr())
	require.Equal(t, []Class{{Rejected, "connect", ""}}, Classify(err), "%v", err)
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:http-of-old")
	require.NotEqual(t, Accepted, Classify(err)[0].Outcome, "%v", err)
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", "no port here")
	require.Equal(t, []Class{{Rejected, "connect", ""}}, Classify(err), "%v", err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&net.Dialer{}).DialContext(ctx, "tcp", refused.Addr())
	require.Equal(t, []Class{{Canceled, "connect", ""}}, Classify(err), "%v", err)
}

func TestOutcomeNames(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "timed out", TimedOut.String())
	assert.Equal(t, "unclassified", Other.String())
	assert.Equal(t, "no outcome", Outcome(0).String())
	assert.Equal(t, "no outcome", Outcome(99).String())
	assert.True(t, Disconnected.covers(ResetByPeer) && Disconnected.covers(Closed) && !Disconnected.covers(TimedOut) && !ResetByPeer.covers(Disconnected))
}
