package overall_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

const (
	// target stands for the address of the server under attack.
	target = "127.0.0.1:1717"

	// years is how long a client has that meets an extreme fixture: virtual time costs nothing.
	years = 1000 * time.Hour
)

// bases are one fixture of each type, with what its fields need at least.
var bases = func() (list []any) {
	known := map[reflect.Type]bool{}
	for _, r := range probe.All() {
		if typ := reflect.TypeOf(r.Any()); !known[typ] {
			known[typ] = true
			list = append(list, r.Any())
		}
	}
	return append(list, fixtures.AcceptError{Err: io.EOF})
}()

// A variant is a fixture with one value that is extreme.
type variant struct {
	name    string // such as fixtures.Drip.Every=-1ns
	field   string // Drip.Every; empty if it is the fixture itself
	bad     bool   // must be an error
	fixture any
}

// variants makes all of a base.
func variants(base any) (list []variant) {
	v := reflect.ValueOf(base)
	typ := v.Type()
	add := func(field string, bad bool, value, fixture reflect.Value) {
		name := typ.String()
		if field != "" {
			name += "." + field
			field = typ.Name() + "." + field
		}
		list = append(list, variant{name + "=" + shown(value), field, bad, fixture.Interface()})
	}
	add("", true, reflect.Zero(reflect.PointerTo(typ)), reflect.Zero(reflect.PointerTo(typ)))
	pointer := reflect.New(typ)
	pointer.Elem().Set(v)
	if _, listens := base.(fixtures.AcceptError); !listens {
		add("", false, pointer, pointer)
	}
	if v.Kind() != reflect.Struct {
		for _, x := range extremes(typ) {
			add("", false, x, x)
		}
		return list
	}
	for field := range v.Fields() {
		if !field.IsExported() {
			continue
		}
		for _, x := range extremes(field.Type) {
			with := reflect.New(typ).Elem()
			with.Set(v)
			with.FieldByIndex(field.Index).Set(x)
			add(field.Name, x.CanInt() && x.Int() < 0 || isTypedNil(x), x, with)
		}
	}
	return list
}

// shown is a value in the name of a subtest.
func shown(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Func, reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v.Type().String() + "(nil)"
		}
		if v.Kind() == reflect.Interface {
			return shown(v.Elem())
		}
		return v.Type().String()
	}
	return fmt.Sprintf("%.40q", fmt.Sprintf("%v", v))
}

// isTypedNil finds an interface that holds a nil pointer.
func isTypedNil(v reflect.Value) bool {
	return v.Kind() == reflect.Interface && !v.IsNil() && v.Elem().Kind() == reflect.Pointer && v.Elem().IsNil() &&
		!v.Type().Implements(reflect.TypeFor[error]())
}

// extremes are the values at the edges of a type.
func extremes(typ reflect.Type) (list []reflect.Value) {
	add := func(values ...any) {
		for _, x := range values {
			list = append(list, reflect.ValueOf(x).Convert(typ))
		}
	}
	list = append(list, reflect.Zero(typ))
	switch typ.Kind() {
	case reflect.Bool:
		add(true)
	case reflect.Int, reflect.Int64:
		add(int64(math.MinInt64), -1, 1, int64(math.MaxInt64))
	case reflect.Float64:
		add(-1, 2, math.NaN(), math.Inf(1))
	case reflect.Uint32:
		add(uint32(math.MaxUint32))
	case reflect.String:
		add("\x00", "a\x00b", strings.Repeat("x", 1<<16+1), "127.0.0.1:0", "127.0.0.1:99999", ":1", "\r\n", "192.0.2.1:80") // rules:allow bad input
	case reflect.Func:
		list = append(list, reflect.MakeFunc(typ, func([]reflect.Value) (results []reflect.Value) { // which returns zero values
			for out := range typ.Outs() {
				results = append(results, reflect.Zero(out))
			}
			return results
		}))
	case reflect.Pointer:
		list = append(list, reflect.New(typ.Elem()))
	case reflect.Slice:
		list = append(list, reflect.MakeSlice(typ, 0, 0))
		for _, x := range extremes(typ.Elem()) {
			list = append(list, reflect.Append(reflect.Zero(typ), x))
		}
	case reflect.Map:
		list = append(list, reflect.MakeMap(typ))
		for _, key := range extremes(typ.Key()) {
			for _, value := range extremes(typ.Elem()) {
				one := reflect.MakeMap(typ)
				one.SetMapIndex(key, value)
				list = append(list, one)
			}
		}
		if typ == reflect.TypeFor[dnsfault.Zone]() {
			add(dnsfault.Zone{"a.test": strings.Fields(strings.Repeat("127.0.0.1 ", 5000))})
		}
	case reflect.Interface:
		for _, base := range bases {
			v := reflect.ValueOf(base)
			if !v.Type().Implements(typ) {
				continue
			}
			if len(list) == 1 {
				list = append(list, reflect.Zero(reflect.PointerTo(v.Type())).Convert(typ))
			}
			list = append(list, v.Convert(typ))
		}
	}
	return list
}

// start runs a fixture of any kind.
func start(ctx context.Context, f any, w fixtures.Place) (ep io.Closer, err error) {
	switch f := f.(type) {
	case fixtures.AcceptError:
		return accepting(ctx, f, w.Stack)
	case *fixtures.Dual:
		return fixtures.StartDual(ctx, f, w)
	}
	return probe.Start(ctx, f, w)
}

// accepting returns what is wrong with a listener's fixture.
func accepting(ctx context.Context, f fixtures.AcceptError, stack network.Stack) (io.Closer, error) {
	listen, dial := (&net.ListenConfig{}).Listen, (&net.Dialer{}).DialContext
	if nw, ok := stack.(*simnet.Network); ok {
		listen, dial = nw.Listen, nw.DialContext
	}
	ln, err := listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l := f.Listen(ln)
	if _, err := l.Accept(); err != nil && strings.Contains(err.Error(), "want") {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// A fixture with an extreme value is refused, with the field and what is wanted instead, or it
// runs: it serves a client, and ends.
func TestExtremesOfFixtures(t *testing.T) {
	t.Parallel()
	for _, base := range bases {
		t.Run(reflect.TypeOf(base).String(), func(t *testing.T) {
			t.Parallel()
			for i, v := range variants(base) {
				if testing.Short() && i%4 > 0 {
					continue // a sample
				}
				t.Run(v.name, func(t *testing.T) { v.try(t) })
			}
		})
	}
}

func (v variant) try(t *testing.T) {
	w := fixtures.Place{Fail: func(error) {}}
	if strings.Contains(fmt.Sprintf("%T %#v", v.fixture, v.fixture), "NoSocket{") && !strings.Contains(v.name, "Dual") {
		w.Family = "unix"
	}
	t.Run("simnet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, nw := w, simnet.New(t)
			w.Stack = nw
			victim := serveAll(t, nw)
			defer victim()
			ep, err := start(t.Context(), v.fixture, w)
			if v.judge(t, err) {
				meet(t, v.fixture, ep)
				assert.NoError(t, ep.Close())
			}
		})
	})
	if strings.HasPrefix(v.name, "hostile.") && !v.bad && !strings.Contains(v.field, "Target") {
		return // nobody listens on the kernel's network
	}
	t.Run("kernel", func(t *testing.T) {
		ep, err := start(t.Context(), v.fixture, w)
		if v.judge(t, err) {
			assert.NoError(t, ep.Close())
		}
	})
}

// judge checks the error of a start, and reports whether the fixture runs.
func (v variant) judge(t *testing.T, err error) bool {
	t.Helper()
	switch {
	case err == nil:
		assert.False(t, v.bad, "accepted; want an error")
		return true
	case errors.Is(err, errors.ErrUnsupported):
		assert.False(t, v.bad, "%v; want an error that names the field", err)
		return false
	}
	assert.Contains(t, err.Error(), "want", "the remedy")
	literal := strings.Replace(v.field, ".", "{", 1) + ": " // what a kernel cannot do is known when it is asked only
	assert.True(t, strings.Contains(err.Error(), v.field) || strings.HasPrefix(err.Error(), literal), "the field: %v", err)
	return false
}

// serveAll is the server that hostile clients find at target: it reads what comes, little by
// little.
func serveAll(t *testing.T, nw *simnet.Network) (end func()) {
	p, err := nw.Bind(t.Context(), "tcp", target)
	require.NoError(t, err)
	require.NoError(t, p.Become(network.State{Answer: network.Listen}))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := p.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				for b := make([]byte, 1<<16); err == nil; time.Sleep(time.Minute) {
					_, err = c.Read(b)
				}
			})
		}
	})
	return func() { _ = p.Close(); serving.Wait() }
}

// meet has a client talk to a fixture, and does not mind what comes of it.
func meet(t *testing.T, fixture any, ep io.Closer) {
	ctx, cancel := context.WithTimeout(t.Context(), years)
	defer cancel()
	switch ep := ep.(type) {
	case *hostile.Attack:
		time.Sleep(time.Second)
	case *fixtures.DualEndpoint:
		talk(ctx, ep.IPv4.DialContext, "hello")
		talk(ctx, ep.IPv6.DialContext, "hello")
	case *udp.Endpoint:
		talk(ctx, ep.DialContext, "hello")
	case *dnsfault.Endpoint:
		query, err := (&dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."),
			Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
		require.NoError(t, err)
		talk(ctx, ep.UDP.DialContext, string(query))
		talk(ctx, ep.TCP.DialContext, string([]byte{0, byte(len(query))})+string(query))
	case *fixtures.Endpoint:
		switch kind := fmt.Sprintf("%T", fixture); {
		case strings.Contains(kind, "httpfault."):
			request(ctx, ep, strings.Contains(kind, ".H2"))
		case strings.Contains(kind, "tlsfault."):
			talk(ctx, func(ctx context.Context, nw, addr string) (net.Conn, error) {
				c, err := ep.DialContext(ctx, nw, addr)
				if err != nil {
					return nil, err
				}
				return tls.Client(c, tlsfault.ClientConfig()), nil
			}, "hello")
		case strings.Contains(kind, "Connect"):
			talk(ctx, ep.DialContext, "CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n")
		case strings.Contains(kind, "SOCKS5"):
			talk(ctx, ep.DialContext, "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")
		default:
			talk(ctx, ep.DialContext, "hello")
		}
	}
}

// talk dials, sends, and reads until nothing more comes.
func talk(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), data string) {
	c, err := dial(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(years))
	_, _ = io.WriteString(c, data)
	_, _ = io.CopyN(io.Discard, c, 1<<17)
}

func request(ctx context.Context, ep *fixtures.Endpoint, h2 bool) {
	dials := 0
	dial := func(ctx context.Context, nw, addr string) (net.Conn, error) {
		if dials++; dials > 10 { // else it tries for as long as it is sent away
			return nil, io.EOF
		}
		return ep.DialContext(ctx, nw, addr)
	}
	tr := &http.Transport{DialContext: dial, Protocols: &http.Protocols{}}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://a.test/", strings.NewReader("hello"))
	if err != nil {
		return
	}
	if answer, err := tr.RoundTrip(r); err == nil {
		_, _ = io.CopyN(io.Discard, answer.Body, 1<<17)
		_ = answer.Body.Close()
	}
}

// eachFunc finds the functions that are declared in dir and below, without tests.
func eachFunc(t *testing.T, dir string, f func(pkg string, d *ast.FuncDecl)) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				f(file.Name.Name, d)
			}
		}
		return nil
	}))
}
