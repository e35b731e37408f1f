package sockettest

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"runtime"
	"strings"

	"example.com/go-sockettest/internal/story"
)

// A matcher is the target of a want that no single error is.
type matcher struct {
	what     string
	found    func(err error) bool
	compared func(err error) string // what was compared, and with what result
}

func (m *matcher) Error() string { return m.what }

// ErrorAs wants an error of type E for which holds returns true, found in the chain as [errors.As]
// finds one. The report shows the errors of type E for which it does not.
//
//	sockettest.ErrorAs(func(e *pq.Error) bool { return e.Code == "57014" }).Before(time.Second)
func ErrorAs[E error](holds func(E) bool) Window {
	if holds == nil {
		return Window{target: &matcher{what: "no error"}, bad: errors.New("ErrorAs(nil): want a function such as func(e *net.OpError) bool")}
	}
	name := reflect.TypeFor[E]().String()
	m := &matcher{what: name + " for which the function holds"}
	m.found = func(err error) (found bool) {
		eachAs(err, func(e E) bool {
			safely(func() { found = holds(e) })
			return found
		})
		return found
	}
	m.compared = func(err error) string {
		text := ""
		eachAs(err, func(e E) bool {
			text = fmt.Sprintf("the function does not hold for the %s that says %s", name, inShort(e))
			return false
		})
		if text == "" {
			return "no " + name + " is in the chain"
		}
		return text
	}
	return Window{target: m}
}

// eachAs calls f for each error of type E in a tree, until f returns true.
func eachAs[E error](err error, f func(E) bool) {
	left := maxErrors
	var walk func(err error, depth int) bool
	walk = func(err error, depth int) bool {
		if left--; err == nil || depth == 0 || left < 0 {
			return false
		}
		if e, ok := asItself[E](err); ok && f(e) {
			return true
		}
		for _, inner := range unwrap(err) {
			if left < 0 || walk(inner, depth-1) {
				return true
			}
		}
		return false
	}
	walk(err, maxDepth)
}

// asItself is [errors.As] without what err wraps.
func asItself[E error](err error) (e E, ok bool) {
	if e, ok = err.(E); ok {
		return e, true
	}
	if as, can := err.(interface{ As(any) bool }); can {
		safely(func() { ok = as.As(&e) })
	}
	return e, ok
}

// ErrorValue wants that of(err) is want, for a family of errors that has a function of its own: the
// status of an RPC, a code, whether it is temporary. of is called with nil if the operation
// succeeded, and may be called several times. The report shows what it returned.
//
//	sockettest.ErrorValue(status.Code, codes.DeadlineExceeded).After(time.Second) // gRPC
//	sockettest.ErrorValue(client.IsRetryable, true)
func ErrorValue[T comparable](of func(error) T, want T) Window {
	if of == nil {
		return Window{target: &matcher{what: "no error"}, bad: errors.New("ErrorValue(nil): want a function such as status.Code")}
	}
	name := funcName(of)
	value := func(err error) (v T, ok bool) {
		ok = safely(func() { v = of(err) })
		return v, ok
	}
	m := &matcher{what: fmt.Sprintf("%s(err) = %s", name, valueText(want))}
	m.found = func(err error) (found bool) {
		safely(func() { v, ok := value(err); found = ok && v == want })
		return found
	}
	m.compared = func(err error) string {
		v, ok := value(err)
		if !ok {
			return name + "(err) panics"
		}
		return fmt.Sprintf("%s(err) = %s", name, valueText(v))
	}
	return Window{target: m}
}

// valueText writes a value by its own String method, if it has one, in short.
func valueText(v any) string {
	text := fmt.Sprintf("%v", v)
	if _, ok := v.(string); ok {
		text = fmt.Sprintf("%q", v)
	}
	return story.Printable(strings.ReplaceAll(text, "\n", " "), keepShort)
}

// funcName names a function as code of another package does.
func funcName(f any) string {
	if fn := runtime.FuncForPC(reflect.ValueOf(f).Pointer()); fn != nil {
		return strings.TrimSuffix(strings.TrimSuffix(path.Base(fn.Name()), "[...]"), "-fm")
	}
	return "the function"
}

// compared says what a want of a family of errors was compared with; empty for other wants.
func (w Window) compared(r Result) string {
	m, ok := w.target.(*matcher)
	if !ok || r.Outcome == Blocked || m.compared == nil {
		return ""
	}
	return m.compared(r.Err)
}
