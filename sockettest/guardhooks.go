package sockettest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"example.com/go-sockettest/internal/dnsanswer"
	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/internal/warm"
)

// guardHooks has the guards asked: by package net if the overlay is there, and otherwise by the
// default transport and the default resolver.
func guardHooks() (undo func()) {
	if intercept.Ready() == nil {
		return intercept.Guard(guardStack{})
	}
	resolver := net.DefaultResolver
	if resolver.Dial == nil {
		net.DefaultResolver = &net.Resolver{PreferGo: true, StrictErrors: resolver.StrictErrors, Dial: dialNoServer(guards.refuse)}
	}
	undo = func() { net.DefaultResolver = resolver }
	if tr, ok := http.DefaultTransport.(*http.Transport); ok && tr != nil {
		if d := dialerOf(tr.DialContext); d != nil {
			before := tr.DialContext
			tr.DialContext = guarded(*d).DialContext
			undo = func() { net.DefaultResolver, tr.DialContext = resolver, before }
		}
	}
	return undo
}

// dialerOf returns the dialer whose method a function is, such as that of [http.DefaultTransport];
// nil if it is another function, which may lead anywhere.
func dialerOf(dial func(ctx context.Context, network, address string) (net.Conn, error)) *net.Dialer {
	if dial == nil || runtime.FuncForPC(reflect.ValueOf(dial).Pointer()).Name() != "net.(*Dialer).DialContext-fm" {
		return nil
	}
	// A method value points to the code, and behind that to what the method is called on.
	return (*struct {
		code   uintptr
		dialer *net.Dialer
	})(*(*unsafe.Pointer)(unsafe.Pointer(&dial))).dialer
}

// guarded returns a dialer that asks the guards once its own hook has let an address pass.
func guarded(d net.Dialer) *net.Dialer {
	plain, hook := d.Control, d.ControlContext
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		var err error
		if hook != nil {
			err = hook(ctx, network, address, c)
		} else if plain != nil {
			err = plain(network, address, c)
		}
		if err != nil {
			return err
		}
		return guards.control(ctx, network, address, c)
	}
	return &d
}

// dialNoServer fits [net.Resolver.Dial]. It knows localhost, and refuses other names.
func dialNoServer(refuse func(what string) error) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		q := &guardedQuery{}
		c, err := dnsanswer.Dial(func(name string) dnsanswer.Reply {
			if isLocalhost(name) {
				return dnsanswer.Reply{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}
			}
			q.refused = refuse("lookup " + name)
			return dnsanswer.NoSuchName
		})(ctx, network, address)
		q.Conn = c
		return q, err
	}
}

func isLocalhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// A guardedQuery fails the write of a query that was refused.
type guardedQuery struct {
	net.Conn
	refused error
}

// Write takes a query.
func (q *guardedQuery) Write(b []byte) (int, error) {
	n, err := q.Conn.Write(b)
	if q.refused != nil {
		return 0, q.refused
	}
	return n, err
}

// A guardStack leaves to the kernel what does not lead beyond loopback.
type guardStack struct{}

// Socket lets the dialer's own hook go first: one that returns an error sends nothing.
func (guardStack) Socket(_ context.Context, network string, _, remote netip.AddrPort, control func(syscall.RawConn) error) (any, error) {
	if control != nil && isBeyond(remote) {
		if err := control(noRaw{}); err != nil && !errors.Is(err, errNoRaw) {
			return nil, err
		}
	}
	return nil, guards.check(network, remote)
}

// LookupNetIP refuses the names that only a name server can know.
func (guardStack) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, bool, error) {
	if isLocalhost(name) {
		return nil, false, nil
	}
	warm.Resolver()
	silent := net.Resolver{PreferGo: true, Dial: dialNoServer(func(string) error { return errNoServer })}
	if _, err := silent.LookupNetIP(untraced{ctx}, "ip", name); err == nil {
		return nil, false, nil // of the hosts file
	}
	name = strings.TrimSuffix(name, ".")
	if err := guards.refuse("lookup " + name); err != nil {
		return nil, true, &net.DNSError{Err: beyondRule, Name: name, UnwrapErr: err}
	}
	return nil, false, nil
}

// An untraced context has no values, such as a trace of lookups.
type untraced struct{ context.Context }

// Value returns nil.
func (untraced) Value(any) any { return nil }

var errNoServer = errors.New("there is no name server")

// A noRaw is the descriptor of a socket that is not made.
type noRaw struct{}

var errNoRaw = errors.New("sockettest.OnlyLoopback: no socket is made for an address beyond loopback")

// Control fails.
func (noRaw) Control(func(uintptr)) error { return errNoRaw }

// Read fails.
func (noRaw) Read(func(uintptr) bool) error { return errNoRaw }

// Write fails.
func (noRaw) Write(func(uintptr) bool) error { return errNoRaw }

// isForResolver reports whether the calling goroutine dials for a resolver without a Dial.
func isForResolver() bool {
	frames := framesOf(goroutinesByID()[goroutineID()])
	for _, f := range frames {
		switch {
		case strings.HasPrefix(f, "net.(*Resolver).dial  "):
			return true
		case !strings.HasPrefix(f, "net.") && !isOurs(f):
			return false
		}
	}
	return false
}

// callerBeyond returns the innermost frame, on the calling goroutine's stack and above it on those
// of the goroutines that it comes from, that is neither the standard library's nor ours.
func callerBeyond() string {
	all := goroutinesByID()
	creator, id := "", goroutineID()
	for steps := 0; id != "" && steps < maxDepth; steps++ {
		frames := framesOf(all[id])
		creator, id = creatorOf(all[id])
		for _, f := range append(slices.Clip(frames), creator) {
			if f != "" && isClients(f) && !isOurs(f) {
				return f
			}
		}
	}
	return "not known: the goroutine that began it is gone"
}

// goroutinesByID returns the stacks of all goroutines.
func goroutinesByID() map[string]string {
	all := map[string]string{}
	for g := range strings.SplitSeq(everyStack.now(), "\n\n") {
		id, _, _ := strings.Cut(g, " [")
		all[id] = g
	}
	return all
}

// isOurs reports whether a frame is of the packages through which a guard is asked, or of those
// that dial on behalf of a test.
func isOurs(frame string) bool {
	rest, ours := strings.CutPrefix(frame, strings.TrimSuffix(startPath, "sockettest."))
	return ours && !strings.Contains(frame, "_test.go:") && hasPrefix(rest, []string{"sockettest.", "fixtures.", "fixtures/", "simnet.", "network.",
		"internal/intercept.", "internal/dnsanswer.", "internal/shared.", "internal/rawsock", "internal/patience."})
}
