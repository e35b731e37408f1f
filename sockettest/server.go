package sockettest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/network"
)

// A Server is a server under test, for [Shutdown].
type Server struct {
	// Serve starts the server on ln, and returns a function that shuts it down and obeys a limit of
	// its own. It is called once for each kind of client.
	Serve func(t testing.TB, ln net.Listener) (shutdown func(context.Context) error)

	// Limit is how long a shutdown may take, more than 0.
	Limit time.Duration

	// Request is what a client sends first and the server answers, such as a request or a greeting.
	// With TLS it is sent inside that. Empty means GET / by HTTP/1.1.
	Request string

	TLS bool // the server speaks TLS
	H2  bool // it speaks HTTP/2, as Request does: clients with open streams are tried, too

	// Begin, unless it is nil, makes a request through front, a relay to the server, and returns once
	// the server is at work on it. finish is called when the server accepts no more connections. It
	// lets the server go on, and returns what became of the request: nil if it was answered.
	Begin func(t testing.TB, front *fixtures.Endpoint) (finish func() error)
}

// Shutdown shuts the server down beside each kind of client that may hold it up. It fails the test
// with a report, without stopping it, if a shutdown does not return nil within Limit, or leaves the
// client's connection open. The clients are:
//
//   - one that never says anything, stops in the middle of a request, or sends it slowly;
//   - one that is idle after an answer, has half-closed, or never reads;
//   - with TLS, one that stops in its handshake or is slow in it;
//   - with H2, one without a stream and one with an open stream.
//
// With Begin, Shutdown also fails if the server loses a request that it was at work on.
//
//	sockettest.Shutdown(t, sockettest.Server{Limit: 10 * time.Second, Serve: func(t testing.TB, ln net.Listener) func(context.Context) error {
//		srv := &http.Server{Handler: handler}
//		go srv.Serve(ln)
//		return func(ctx context.Context) error {
//			ctx, cancel := context.WithTimeout(ctx, time.Second)
//			defer cancel()
//			if err := srv.Shutdown(ctx); err == nil {
//				return nil
//			}
//			return srv.Close() // clients that Shutdown waits for, such as one that never reads
//		}
//	}})
//
// The clients come one after the other, each to a server of its own. [On] chooses the network: on a
// simnet in a bubble long limits take no time. A client that never reads needs Linux or simnet, and
// is left out elsewhere.
func Shutdown(t testing.TB, s Server, opts ...Option) {
	if argument.IsNil(t) {
		_ = errNilTB("Shutdown")
		return
	}
	t.Helper()
	switch {
	case s.Serve == nil:
		t.Fatalf("bad argument: sockettest.Shutdown: Server.Serve is nil; want a function that starts the server under test")
	case s.Limit <= 0:
		t.Fatalf("bad argument: sockettest.Shutdown: Server.Limit is %v; want more than 0, within which a shutdown must return", s.Limit)
	}
	nw := where(t, "Shutdown", opts).Stack
	if nw == nil {
		nw = Kernel
	}
	if s.Request == "" {
		s.Request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	}
	for _, client := range s.clients() {
		addr, shutdown := s.serve(t, nw)
		a, err := hostile.Start(t.Context(), client(addr), where(t, "Shutdown", opts))
		if errors.Is(err, errors.ErrUnsupported) {
			_ = shutdown(t.Context())
			continue
		}
		started(t, "Shutdown", err)
		noteArmed(t, a)
		if err := s.ask(t.Context(), nw, addr); err != nil {
			t.Errorf("sockettest.Shutdown: the server does not answer Server.Request beside %v: %v", a, err)
		}
		awaitStuck(t.Context(), a, s.Limit)
		Expect(t, a, Accepted.Before(s.Limit), shutdown)
		ExpectEnd(t, a, Disconnected)
		_ = a.Close()
	}
	if s.Begin != nil {
		s.drains(t, nw)
	}
}

// serve starts the server at a new address.
func (s Server) serve(t testing.TB, nw network.Stack) (addr string, shutdown func(context.Context) error) {
	t.Helper()
	ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("sockettest.Shutdown: %v", err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String(), s.Serve(t, ln)
}

// RFC 9113, sections 3.4, 6.2 and 6.5: the preface, an empty SETTINGS, and POST / whose body is
// still to come.
const (
	h2Hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	h2Post  = "\x00\x00\x0e\x01\x04\x00\x00\x00\x01" + "\x83\x86\x84\x41\x09localhost"
)

// clients are those that a shutdown must not wait for.
func (s Server) clients() (list []func(addr string) hostile.Fixture) {
	add := func(steps ...script.Step) {
		list = append(list, func(addr string) hostile.Fixture { return hostile.Scripted{Target: addr, Steps: steps} })
	}
	half := s.Request[:len(s.Request)/2]
	list = append(list, func(addr string) hostile.Fixture { return hostile.ConnectOnly{Target: addr} })
	if half != "" {
		add(script.Send(half), script.Discard())
	}
	add(script.DripFor(s.Request, 4*s.Limit), script.Discard())
	add(script.Send(s.Request), script.Read(1), script.Discard())
	add(script.Send(s.Request), script.HalfClose(), script.Discard())
	if s.H2 {
		add(script.Send(h2Hello), script.Discard())
		add(script.Send(h2Hello+h2Post), script.Discard())
	}
	list = append(list, func(addr string) hostile.Fixture { return hostile.NeverRead{Target: addr, Data: s.Request} })
	if !s.TLS {
		return list
	}
	for i, plain := range list {
		list[i] = func(addr string) hostile.Fixture { return hostile.OverTLS{Then: plain(addr), Config: s.config()} }
	}
	return append(list, func(addr string) hostile.Fixture { return hostile.ConnectOnly{Target: addr} },
		func(addr string) hostile.Fixture { return hostile.SlowHello{Target: addr} },
		func(addr string) hostile.Fixture { return hostile.StalledTLS{Target: addr} })
}

// config is that of clients.
func (s Server) config() *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true}
	if s.H2 {
		c.NextProtos = []string{"h2"}
	}
	return c
}

// ask makes a request, whose answer shows that the server has accepted all that came before.
func (s Server) ask(ctx context.Context, nw network.Stack, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := nw.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if s.TLS {
		c = tls.Client(c, s.config())
	}
	if _, err := io.WriteString(c, s.Request); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// awaitStuck waits until the server cannot go on with a client that never reads, for most at the
// longest: before that the server would be idle between two answers. A server that has ended the
// connection, or has sent all that it has to send, never gets there.
func awaitStuck(ctx context.Context, a *hostile.Attack, most time.Duration) {
	if !strings.Contains(a.String(), "NeverRead{") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for _, c := range a.Conns() {
		for end := fixtures.Open; end == fixtures.Open && !hasEvent(a, fixtures.PeerBlocked) && pause(ctx); {
			end, _ = c.PeerEnd()
		}
	}
}

func hasEvent(a *hostile.Attack, k fixtures.EventKind) bool {
	return slices.ContainsFunc(a.Events(), func(e fixtures.Event) bool { return e.Kind == k })
}

// pause waits for a moment, and reports whether ctx goes on.
func pause(ctx context.Context) bool {
	moment, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	<-moment.Done()
	return ctx.Err() == nil
}

// drains shows that a request is answered that the server was at work on.
func (s Server) drains(t testing.TB, nw network.Stack) {
	t.Helper()
	addr, shutdown := s.serve(t, nw)
	front := Start(t, fixtures.Forward{To: addr}, On(nw))
	finish := s.Begin(t, front)
	Expect(t, front, Accepted.Before(s.Limit), func(ctx context.Context) error {
		over := make(chan error, 1)
		go func() { over <- shutdown(ctx) }()
		awaitRefusal(ctx, nw, addr, s.Limit/2)
		if err := finish(); err != nil {
			return errors.Join(fmt.Errorf("a request that the server was at work on is lost: %w", err), <-over)
		}
		return <-over
	})
}

// awaitRefusal waits until the server accepts no more, for most at the longest.
func awaitRefusal(ctx context.Context, nw network.Stack, addr string, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		c, err := nw.DialContext(ctx, "tcp", addr)
		if err == nil {
			err = c.Close()
		}
		if err != nil || !pause(ctx) {
			return
		}
	}
}

// Reserve returns an address for a server under test, for as long as the test lasts:
//
//	addr := sockettest.Reserve(t)
//	cmd := exec.Command("server", "-listen", addr) // or http.ListenAndServe(addr, nil), or net.Listen
//
// The port is nobody else's: the kernel gives it to no listener on port 0 and to no client. A
// server that binds it by number gets it, here or in another process, as often as it likes, on this
// address or on all of them (":1717"). While nobody listens, a connect is refused.
//
// The server must set SO_REUSEADDR, as package net and most servers do; without it, bind fails with
// EADDRINUSE. Options are [On], [Family] and [Address]; on a [*simnet.Network] the server listens
// by its Listen. A port can be reserved on Linux and on simnet; elsewhere Reserve skips the test.
// To test a server whose address is in use, give it that of any fixture, such as a
// [fixtures.BoundOnly].
func Reserve(t testing.TB, opts ...Option) (addr string) {
	if argument.IsNil(t) {
		_ = errNilTB("Reserve")
		return ""
	}
	t.Helper()
	w := where(t, "Reserve", opts)
	if argument.IsNil(w.Stack) {
		w.Stack = Kernel
	}
	if w.Family == "" {
		w.Family = "tcp"
	}
	p, err := w.Stack.Bind(t.Context(), w.Family, w.Address)
	if err == nil {
		t.Cleanup(func() { _ = p.Close() })
		err = p.Become(network.State{Answer: network.Lend})
	}
	started(t, "Reserve", err)
	return p.Addr().String()
}
