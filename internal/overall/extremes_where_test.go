package overall_test

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/rawsock"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// Where a fixture runs is refused, with the value and what is wanted instead, or it runs there.
func TestExtremesOfWhere(t *testing.T) {
	t.Parallel()
	for _, f := range []any{fixtures.Echo{}, fixtures.Dual{}, udp.Echo{}, dnsfault.NXDomain{}, hostile.ConnectOnly{Target: target}} {
		for field := range reflect.TypeFor[fixtures.Place]().Fields() {
			for _, x := range places(field.Type) {
				for _, nw := range []string{"", "unix"} {
					w := fixtures.Place{Family: nw}
					reflect.ValueOf(&w).Elem().FieldByIndex(field.Index).Set(x)
					t.Run(reflect.TypeOf(f).String()+"/"+nw+" "+field.Name+"="+shown(x), func(t *testing.T) { tryWhere(t, f, w) })
				}
			}
		}
	}
}

// places are the extremes of a field of Where.
func places(typ reflect.Type) []reflect.Value {
	list := extremes(typ)
	switch typ {
	case reflect.TypeFor[string]():
		for _, s := range []string{"udp", "ip", "tcp4", "TCP", "192.0.2.1:0", "[2001:db8::1]:0", "[::1]:0", "127.0.0.1", "/", "/dev/null", "./\x00"} { // rules:allow bad input
			list = append(list, reflect.ValueOf(s))
		}
	case reflect.TypeFor[network.Stack]():
		list = append(list, reflect.ValueOf((*simnet.Network)(nil)), reflect.ValueOf((*rawsock.Loopback)(nil)))
	}
	return list
}

func tryWhere(t *testing.T, f any, w fixtures.Place) {
	try := func(t *testing.T, w fixtures.Place) {
		ep, err := start(t.Context(), f, w)
		switch {
		case err == nil:
			assert.NoError(t, ep.Close())
		case !errors.Is(err, errors.ErrUnsupported):
			assert.Regexp(t, "want|remove it", err.Error(), "the remedy")
		}
	}
	t.Run("kernel", func(t *testing.T) { try(t, w) })
	if w.Stack == nil {
		t.Run("simnet", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nw := simnet.New(t)
				defer serveAll(t, nw)()
				w.Stack = nw
				try(t, w)
			})
		})
	}
}
