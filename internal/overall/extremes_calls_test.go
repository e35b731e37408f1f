package overall_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/calltimeout"
	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// steps are the functions that make steps, each with arguments that are right.
// TestExtremesKnowsEveryStep finds one that is missing.
var steps = map[string][]any{
	"Discard": {script.Discard}, "Do": {script.Do, nothing}, "Drip": {script.Drip[string], "x", time.Duration(1)},
	"DripFor": {script.DripFor[string], "x", time.Duration(1)}, "Echo": {script.Echo}, "Stall": {script.Stall}, "HalfClose": {script.HalfClose},
	"Close": {script.Close}, "Reset": {script.Reset}, "Gate": {script.Gate, new(script.Latch)}, "Read": {script.Read, 1},
	"ReadUntil": {script.ReadUntil, "x"}, "Repeat": {script.Repeat, 1, []script.Step{script.Send("x")}},
	"Forever": {script.Forever, []script.Step{script.Read(1)}}, "Send": {script.Send[string], "x"}, "Wait": {script.Wait, time.Duration(1)},
	"Match": {script.Match[string], "x"}, "MatchErr": {script.MatchErr, io.EOF}, "ReadFrame": {script.ReadFrame, script.Frame{Length: 1}},
	"SendFrame": {script.SendFrame, script.Frame{Length: 1}, "x"},
	"Answer":    {script.Answer, script.Frame{Length: 1}, func(string) ([]string, error) { return nil, nil }},
}

func nothing(context.Context, script.Conn) error { return nil }

// each calls f with one of its arguments at an extreme, and the others as they are given.
func each(f reflect.Value, args []reflect.Value, try func(name string, negative bool, call func() []reflect.Value)) {
	for i := range args {
		for _, x := range extremes(args[i].Type()) {
			with := append([]reflect.Value(nil), args...)
			with[i] = x
			try(fmt.Sprintf("%d=%s", i+1, shown(x)), outside(x), func() []reflect.Value { return call(f, with) })
		}
	}
}

func TestExtremesOfSteps(t *testing.T) {
	t.Parallel()
	for name, call := range steps {
		var args []reflect.Value
		for _, a := range call[1:] {
			args = append(args, reflect.ValueOf(a))
		}
		each(reflect.ValueOf(call[0]), args, func(arg string, negative bool, call func() []reflect.Value) {
			t.Run(name+"/"+arg, func(t *testing.T) {
				step := call()[0].Interface().(script.Step)
				variant{name: name, bad: negative, fixture: fixtures.Scripted{Steps: script.Script{step}}}.try(t)
			})
		})
	}
}

func TestExtremesKnowsEveryStep(t *testing.T) {
	t.Parallel()
	seen := 0
	eachFunc(t, "../../fixtures/script", func(_ string, f *ast.FuncDecl) {
		if r := f.Type.Results; f.Recv == nil && f.Name.IsExported() && r.NumFields() == 1 && types.ExprString(r.List[0].Type) == "Step" {
			seen++
			assert.Contains(t, steps, f.Name.Name)
		}
	})
	assert.Len(t, steps, seen)
}

// What is set on a simulated network is refused, with what is wanted, or holds.
func TestExtremesOfSimnet(t *testing.T) {
	t.Parallel()
	for _, of := range []func(nw *simnet.Network) any{
		func(nw *simnet.Network) any { return nw },
		func(nw *simnet.Network) any { return nw.Host("a.test") },
		func(nw *simnet.Network) any { return nw.Link(nw.Host("a.test"), nw.Host("b.test")) },
		func(nw *simnet.Network) any { return nw.Host("a.test").To(nw.Host("b.test")) },
	} {
		simnetMethods(t, of)
	}
}

// simnetMethods calls all methods of what of returns.
func simnetMethods(t *testing.T, of func(nw *simnet.Network) any) {
	typ := reflect.TypeOf(of(simnet.New(t)))
	for m := range typ.Methods() {
		var args []reflect.Value
		for in := range m.Type.Ins() {
			args = append(args, reflect.Zero(in))
		}
		sets := m.Type.NumOut() == 1 && m.Type.Out(0) == reflect.TypeFor[func()]()
		for i := 1; i < len(args); i++ {
			for _, x := range extremes(args[i].Type()) {
				t.Run(fmt.Sprintf("%v.%s/%d=%s", typ, m.Name, i, shown(x)), func(t *testing.T) {
					with := append([]reflect.Value(nil), args...)
					with[i] = x
					tb := callSimnet(t, of, m.Func, with)
					assert.True(t, !tb.Failed() || strings.Contains(tb.Text(), "want"), tb.Text())
					assert.True(t, tb.Failed() || !sets || !outside(x), "accepted; want an error")
				})
			}
		}
	}
}

// callSimnet calls a method in a bubble, on a network of its own.
func callSimnet(t *testing.T, of func(nw *simnet.Network) any, method reflect.Value, args []reflect.Value) (tb *faketb.TB) {
	synctest.Test(t, func(t *testing.T) {
		tb = faketb.Run(t, func(tb *faketb.TB) {
			ctx, cancel := context.WithTimeout(tb.Context(), years)
			defer cancel()
			args[0] = reflect.ValueOf(of(simnet.New(tb)))
			for i, a := range args {
				if a.Type() == reflect.TypeFor[context.Context]() {
					args[i] = reflect.ValueOf(ctx)
				}
			}
			call(method, args)
		})
	})
	return tb
}

func call(f reflect.Value, args []reflect.Value) []reflect.Value {
	if f.Type().IsVariadic() {
		return f.CallSlice(args)
	}
	return f.Call(args)
}

// outside finds a number below 0, and a share that is not from 0 to 1.
func outside(x reflect.Value) bool {
	return x.CanInt() && x.Int() < 0 || x.CanFloat() && !(x.Float() >= 0 && x.Float() <= 1)
}

// A want with an extreme is refused, with what is wanted, or judges.
func TestExtremesOfWants(t *testing.T) {
	t.Parallel()
	for _, of := range []any{sockettest.TimedOut, sockettest.Accepted, sockettest.Blocked, sockettest.Outcome(-1), sockettest.TimedOut.After(1), sockettest.Window{}} {
		v := reflect.ValueOf(of)
		for m := range v.Type().Methods() {
			if m.Type.NumIn() != 2 || m.Type.Out(0) != reflect.TypeFor[sockettest.Window]() {
				continue
			}
			for _, x := range extremes(m.Type.In(1)) {
				want := m.Func.Call([]reflect.Value{v, x})[0].Interface().(sockettest.Want)
				t.Run(fmt.Sprintf("%v.%s(%s)", of, m.Name, shown(x)), func(t *testing.T) { tryWant(t, want) })
			}
		}
	}
}

func tryWant(t *testing.T, want sockettest.Want) {
	_ = want.String()
	_ = want.Check(sockettest.Result{})
	_ = want.Check(sockettest.Result{Elapsed: math.MaxInt64})
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Refused{}, sockettest.On(simnet.New(tb)))
			sockettest.Expect(tb, ep, want, func() error {
				_, err := ep.DialContext(tb.Context(), "tcp", ep.Addr())
				return err
			})
		})
		assert.NotContains(t, tb.Text(), "panic")
		assert.True(t, !tb.Failed() || strings.Contains(tb.Text(), "want"), tb.Text())
	})
}

// A face that is given nothing says what it wants.
func TestExtremesOfFaces(t *testing.T) {
	t.Parallel()
	var none *fixtures.Echo
	for name, call := range map[string]func(tb *faketb.TB){
		"Start nil":        func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Fixture(nil)) },
		"Start nil Dual":   func(tb *faketb.TB) { sockettest.Start(tb, (*fixtures.Dual)(nil)) },
		"Start typed nil":  func(tb *faketb.TB) { sockettest.Start(tb, none) },
		"New nil option":   func(tb *faketb.TB) { simnet.New(tb, nil) },
		"Dialer nil":       func(tb *faketb.TB) { sockettest.Dialer(tb, nil) },
		"Dialer typed nil": func(tb *faketb.TB) { sockettest.Dialer(tb, none) },
		"Start nil UDP":    func(tb *faketb.TB) { sockettest.Start(tb, udp.Fixture(nil)) },
		"ListenConfig 0":   func(tb *faketb.TB) { sockettest.ListenConfig(tb, 0) },
		"Expect nil endpoint": func(tb *faketb.TB) {
			sockettest.Expect(tb, nil, sockettest.Accepted.Before(1), func() error { return nil })
		},
		"Expect typed nil": func(tb *faketb.TB) {
			sockettest.Expect(tb, (*fixtures.Endpoint)(nil), sockettest.Accepted.Before(1), func() error { return nil })
		},
		"Expect nil op": func(tb *faketb.TB) {
			sockettest.Expect(tb, sockettest.Start(tb, fixtures.Echo{}), sockettest.Accepted.Before(1), (func() error)(nil))
		},
		"ExpectEnd nil":         func(tb *faketb.TB) { sockettest.ExpectEnd(tb, nil, sockettest.Disconnected.Before(1)) },
		"Start nil network":     func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Echo{}, sockettest.On((*simnet.Network)(nil))) },
		"Start no such network": func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Echo{}, sockettest.Family("\x00")) },
		"Start foreign address": func(tb *faketb.TB) { sockettest.Start(tb, fixtures.Echo{}, sockettest.Address("192.0.2.1:0")) }, // rules:allow bad input
	} {
		t.Run(name, func(t *testing.T) {
			tb := faketb.Run(t, call)
			assert.True(t, tb.Failed(), "accepted; want an error")
			assert.Contains(t, tb.Text(), "want")
		})
	}
}

// A limit that cannot be, or nothing to be limited, is an error that says what is wanted.
func TestExtremesOfCallTimeout(t *testing.T) {
	t.Parallel()
	dialed := func(d calltimeout.Dialer) error {
		_, err := d.DialContext(t.Context(), "tcp", target)
		return err
	}
	none := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	typed := func(context.Context, string, string) (net.Conn, error) { return (*net.TCPConn)(nil), nil }
	conn := func(c net.Conn) error { _, err := calltimeout.NewConn(c); return err }
	listener := func(l net.Listener) error { _, err := calltimeout.NewListener(l); return err }
	for name, err := range map[string]error{
		"negative timeout": dialed(calltimeout.Dialer{Timeout: -1}), "least timeout": dialed(calltimeout.Dialer{Timeout: math.MinInt64}),
		"no connection": dialed(calltimeout.Dialer{Connect: none}), "a nil connection": dialed(calltimeout.Dialer{Connect: typed}),
		"NewConn(nil)": conn(nil), "NewConn of a nil pointer": conn((*net.TCPConn)(nil)),
		"NewListener(nil)": listener(nil), "NewListener of a nil pointer": listener((*net.TCPListener)(nil)),
	} {
		assert.ErrorContains(t, err, "want", name)
	}
}
