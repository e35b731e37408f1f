package sockettest

import (
	"testing"

	"example.com/go-sockettest/internal/argument"
	"example.com/go-sockettest/network"
)

// Reserve returns an address for a server under test, for as long as the test lasts:
//
//	addr := sockettest.Reserve(t)
//	cmd := exec.Command("server", "-listen", addr) // or http.ListenAndServe(addr, nil), or net.Listen
//
// The port is nobody else's: the kernel gives it to no listener on port 0 and to no client. Who
// binds it by number gets it, here or in another process, as often as it likes, on this address or
// on all of them (":1717"). While nobody listens, a connect is refused.
//
// The server must set SO_REUSEADDR, as package net and most servers do; without it, bind fails with
// EADDRINUSE. Options are [On], [Family] and [Address]; on a [*simnet.Network] the server listens
// by its Listen. A port can be reserved on Linux and on simnet; elsewhere Reserve skips the test.
// For a server that must cope with an address in use, that of any fixture will do, such as a
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
