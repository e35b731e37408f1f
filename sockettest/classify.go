package sockettest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"syscall"

	"example.com/go-sockettest/internal/rawsock"
)

// A Class is one way in which an operation ended, as its error says.
type Class struct {
	Outcome Outcome
	Phase   string // "resolve", "bind", "connect", "accept", "handshake", "read", "write", "close", or "call" if unknown
	Source  string // of TimedOut: "deadline", "context", or "kernel" for its own ETIMEDOUT; else empty
}

// Classify says how an operation ended, from its error. It goes by types and errno, never by text,
// and gives the same answer on every platform. A nil error is [Accepted].
//
// An error that joins several gives a class for each, in order and without repeats: a client that
// tried two addresses may have been refused by one and ignored by the other. An error that says
// nothing is left out. If all say nothing, the one class is [Other].
//
// An error that is a timeout by its own Timeout method, not by that of an error that it wraps, is
// [TimedOut], whatever it wraps. A method of an error that panics, as that of a nil pointer may, is
// ignored. Classify looks at the first 10,000 errors of a tree, and the first 100 of a chain.
//
// Whether a dial's timeout matches context.DeadlineExceeded or os.ErrDeadlineExceeded is chance in
// package net: its Source is "deadline" either way.
func Classify(err error) []Class {
	if err == nil {
		return []Class{{Outcome: Accepted, Phase: unknownPhase}}
	}
	w := walk{left: maxErrors}
	all, _ := w.classify(err, unknownPhase, maxDepth)
	told := slices.DeleteFunc(slices.Clone(all), func(c Class) bool { return c.Outcome == Other })
	if len(told) == 0 {
		return all[:1]
	}
	return told
}

// A walk goes through an error's tree, and ends after this many errors.
type walk struct{ left int }

// classify classifies err and what it wraps; phase is what the errors above have told. It also
// reports whether one of these says that it is a timeout.
func (w *walk) classify(err error, phase string, depth int) (list []Class, timeout bool) {
	if w.left--; depth == 0 || w.left < 0 {
		return []Class{{Outcome: Other, Phase: phase}}, false
	}
	var own Class
	var known bool
	safely(func() {
		if p := phaseOf(err); p != "" && phase != "resolve" {
			phase = p // but what happens inside a name lookup stays a matter of the lookup
		}
		own, known = ownClass(err, phase)
		timeout = saysTimeout(err)
	})
	if known {
		return []Class{own}, timeout
	}
	below := make([]Class, 0, 1)
	wrapped := false // an error below says so
	for _, inner := range unwrap(err) {
		if w.left < 0 {
			break
		}
		if inner != nil {
			classes, says := w.classify(inner, phase, depth-1)
			below, wrapped = unite(below, classes), wrapped || says
		}
	}
	if timeout && !wrapped {
		return []Class{{TimedOut, phaseBelow(below, phase), "deadline"}}, true
	}
	timeout = timeout || wrapped
	if slices.ContainsFunc(below, func(c Class) bool { return c.Outcome != Other }) {
		return below, timeout
	}
	c := Class{Outcome: Other, Phase: phase}
	safely(func() { c = byMethod(err, phase) })
	if c.Outcome != Other || len(below) == 0 {
		return []Class{c}, timeout
	}
	return below, timeout
}

// unite adds the classes that are not in the list: thousands of errors may say the same.
func unite(list, more []Class) []Class {
	for _, c := range more {
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// phaseBelow is the phase that the errors below tell, if those above do not.
func phaseBelow(below []Class, phase string) string {
	if phase == unknownPhase && len(below) > 0 {
		return below[0].Phase
	}
	return phase
}

// phaseOf is what one error says of the phase, or nothing.
func phaseOf(err error) string {
	switch e := err.(type) {
	case *os.SyscallError: // all that is left of it where a client takes package net's errors apart
		return callPhases[e.Syscall]
	case *net.DNSError:
		return "resolve"
	case *net.OpError:
		return opPhases[e.Op]
	case *tls.CertificateVerificationError, tls.RecordHeaderError:
		return "handshake"
	}
	return ""
}

// remoteAlert is the Op of a TLS alert that the other side sent; our own is a "local error".
const remoteAlert = "remote error"

// opPhases translates the Op of a net.OpError.
var opPhases = map[string]string{
	"dial": "connect", "listen": "bind", "bind": "bind", "accept": "accept", "read": "read", "write": "write",
	"close": "close", remoteAlert: "handshake", "local error": "handshake",
}

// callPhases translates the name of a system call. Those that serve more than one phase tell
// nothing.
var callPhases = map[string]string{
	"connect": "connect", "connectex": "connect", "bind": "bind", "accept": "accept", "accept4": "accept", "acceptex": "accept",
	"read": "read", "readv": "read", "recvfrom": "read", "recvmsg": "read", "wsarecv": "read",
	"write": "write", "writev": "write", "sendto": "write", "sendmsg": "write", "wsasend": "write",
}

// ownClass classifies an error by its type or identity.
func ownClass(err error, phase string) (Class, bool) {
	switch e := err.(type) {
	case *net.DNSError:
		switch {
		case e.IsNotFound:
			return Class{NotFound, phase, ""}, true
		case e.IsTimeout:
			return Class{TimedOut, phase, "deadline"}, true
		}
	case *net.AddrError, *net.ParseError, net.UnknownNetworkError, net.InvalidAddrError:
		return Class{Rejected, phase, ""}, true
	case *tls.CertificateVerificationError, tls.RecordHeaderError:
		return Class{Rejected, phase, ""}, true
	case *net.OpError:
		return Class{Rejected, phase, ""}, e.Op == remoteAlert
	case syscall.Errno:
		return ofErrno(e, phase)
	}
	switch err {
	case context.DeadlineExceeded:
		return Class{TimedOut, phase, timeoutSource(phase, "context")}, true
	case os.ErrDeadlineExceeded:
		return Class{TimedOut, phase, "deadline"}, true
	case context.Canceled:
		return Class{Canceled, phase, ""}, true
	case net.ErrClosed, io.ErrClosedPipe:
		return Class{SelfClosed, phase, ""}, true
	case io.EOF, io.ErrUnexpectedEOF:
		return Class{Closed, phase, ""}, true
	}
	return Class{}, false
}

// timeoutSource hides the coin toss of a dial.
func timeoutSource(phase, source string) string {
	if phase == "connect" {
		return "deadline"
	}
	return source
}

var faults = map[rawsock.Fault]Outcome{
	rawsock.Refused: Rejected, rawsock.Invalid: Rejected, rawsock.ResetByPeer: ResetByPeer, rawsock.KernelTimeout: TimedOut,
	rawsock.Unreachable: Unreachable, rawsock.Exhausted: Exhausted,
}

func ofErrno(e syscall.Errno, phase string) (Class, bool) {
	o, ok := faults[rawsock.FaultOf(e)]
	c := Class{Outcome: o, Phase: phase}
	if o == TimedOut {
		c.Source = "kernel"
	}
	return c, ok
}

// byMethod is for errors that tell nothing by type or by what they wrap: what do they claim to be?
func byMethod(err error, phase string) Class {
	is, _ := err.(interface{ Is(error) bool })
	claims := func(target error) bool { return is != nil && is.Is(target) }
	switch {
	case claims(context.Canceled):
		return Class{Canceled, phase, ""}
	case claims(net.ErrClosed):
		return Class{SelfClosed, phase, ""}
	case claims(context.DeadlineExceeded):
		return Class{TimedOut, phase, timeoutSource(phase, "context")}
	case claims(os.ErrDeadlineExceeded), saysTimeout(err):
		return Class{TimedOut, phase, "deadline"}
	}
	return Class{Other, phase, ""}
}

func saysTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}

// The errors of the code under test may be of any kind. These are the bounds of a walk through what
// one wraps.
const (
	maxDepth  = 100
	maxErrors = 10_000
)

// safely runs f, and reports whether it returned: the method of an error may panic, as that of a
// nil pointer does.
func safely(f func()) (ok bool) {
	defer func() {
		if !ok {
			_ = recover()
		}
	}()
	f()
	return true
}

// unwrap returns what an error wraps itself.
func unwrap(err error) (list []error) {
	safely(func() {
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			list = e.Unwrap()
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				list = []error{inner}
			}
		}
	})
	return list
}

// matches is errors.Is within the bounds of a walk.
func matches(err, target error) bool {
	if m, ok := target.(*matcher); ok {
		return m.found(err)
	}
	left := maxErrors
	var find func(err error, depth int) bool
	find = func(err error, depth int) (found bool) {
		if left--; err == nil || depth == 0 || left < 0 {
			return false
		}
		found = matchesItself(err, target)
		for _, inner := range unwrap(err) {
			if found || left < 0 {
				break
			}
			found = find(inner, depth-1)
		}
		return found
	}
	return find(err, maxDepth)
}

// matchesItself is [errors.Is] without what err wraps.
func matchesItself(err, target error) (found bool) {
	safely(func() { found = err == target })
	if is, ok := err.(interface{ Is(error) bool }); ok && !found {
		safely(func() { found = is.Is(target) })
	}
	return found
}

// matchPhases returns the phases of the errors that match, by themselves or by what is above or
// below them, but not [unknownPhase].
func matchPhases(err, target error) (phases []string) {
	if m, ok := target.(*matcher); ok { // which of the errors it was cannot be told
		for _, c := range Classify(err) {
			if c.Phase != unknownPhase && m.found(err) {
				phases = append(phases, c.Phase)
			}
		}
		return phases
	}
	w := walk{left: maxErrors}
	var find func(err error, phase string)
	find = func(err error, phase string) {
		if w.left--; err == nil || w.left < 0 {
			return
		}
		if matchesItself(err, target) {
			classes, _ := w.classify(err, phase, maxDepth)
			for _, c := range classes {
				if c.Phase != unknownPhase {
					phases = append(phases, c.Phase)
				}
			}
			return
		}
		safely(func() {
			if p := phaseOf(err); p != "" && phase != "resolve" {
				phase = p
			}
		})
		for _, inner := range unwrap(err) {
			find(inner, phase)
		}
	}
	find(err, unknownPhase)
	return phases
}

// errorText is what an error says. If it wraps itself its text may not end, and is not asked for.
func errorText(err error) string {
	if wrapsItself(err) {
		return "(no text: it wraps itself)"
	}
	return textOfEnding(err)
}

// textOfEnding is what an error says that does not wrap itself.
func textOfEnding(err error) string {
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Sprintf("(a nil pointer, which is not a nil error: return nil instead of a nil %T)", err)
	}
	text := "(no text: its Error method panics)"
	safely(func() { text = err.Error() })
	return text
}

// wrapsItself reports whether an error wraps itself, at whatever depth.
func wrapsItself(err error) bool {
	left := maxErrors
	above := map[error]bool{}
	var look func(err error, depth int) bool
	look = func(err error, depth int) (found bool) {
		if left--; err == nil || left < 0 {
			return false
		}
		hashable := safely(func() { found = above[err]; above[err] = true })
		if found || depth == 0 {
			return found
		}
		if hashable {
			defer delete(above, err)
		}
		for _, inner := range unwrap(err) {
			if left < 0 || look(inner, depth-1) {
				return left >= 0
			}
		}
		return false
	}
	return look(err, maxDepth)
}
