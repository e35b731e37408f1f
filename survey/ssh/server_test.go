package ssh_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// NewServerConn takes no context, and ServerConfig has no timeout: a server that sets no deadline keeps whoever connects.
func TestServer(t *testing.T) {
	t.Parallel()
	connectOnly := func(target string) hostile.Fixture { return hostile.ConnectOnly{Target: target} }
	slowVersion := func(target string) hostile.Fixture {
		return hostile.Slowloris{Target: target, Data: "a banner line that does not end, and is not too long either", Every: time.Hour}
	}
	noKeys := exam.Says(version)
	bye := func(target string) hostile.Fixture {
		return exam.Leaving(hostile.Scripted{Target: target, Steps: script.Script{script.Send(version), script.ReadUntil("\n"), kexInit(), script.HalfClose(), script.Discard()}})
	}
	exam.Defend(t, exam.Client{Name: "x/crypto/ssh server", Module: "golang.org/x/crypto"}, []exam.Attack{
		{Name: "connects, then silent", Client: connectOnly, Knob: "none", Serve: serve, Want: exam.Never()},
		{Name: "connects, then silent, with a deadline", Client: connectOnly, Knob: deadline, Serve: serveWithin,
			Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "version a byte at a time", Client: slowVersion, Knob: "none", Serve: serve, Want: exam.Never()},
		{Name: "version a byte at a time, with a deadline", Client: slowVersion, Knob: deadline, Serve: serveWithin,
			Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "version, then silent", Client: noKeys, Knob: "none", Serve: serve, Want: exam.Never()},
		{Name: "version, then silent, with a deadline", Client: noKeys, Knob: deadline, Serve: serveWithin,
			Want: exam.AtLimit(sockettest.Disconnected)},
		{Name: "version, then half-closed", Client: bye, Knob: "none needed", Serve: serve, Want: exam.AtOnce(sockettest.Disconnected)},
	})
}

// serve has no deadlines, as the package's examples have none.
func serve(t testing.TB, ln net.Listener, _ exam.Place) { accept(t, ln, 0) }

// serveWithin bounds the handshake.
func serveWithin(t testing.TB, ln net.Listener, p exam.Place) { accept(t, ln, p.Limit) }

func accept(t testing.TB, ln net.Listener, limit time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = ln.Close() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handshake(c, limit) })
		}
	})
}

func handshake(c net.Conn, limit time.Duration) {
	if limit > 0 {
		_ = c.SetDeadline(time.Now().Add(limit))
	}
	conn, channels, requests, err := ssh.NewServerConn(c, serverConfig())
	if err != nil {
		return // and c is closed
	}
	_ = c.SetDeadline(time.Time{})
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		_ = ch.Reject(ssh.Prohibited, "no channels here")
	}
	_ = conn.Wait()
}
