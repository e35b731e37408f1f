package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/manytests"
)

// isolated is a sweep in children. In one of these it does not return.
func isolated(t *testing.T, cfg Config, op func(context.Context, *Case) error) *sweep {
	t.Helper()
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: op}
	require.False(t, s.begins(true))
	require.NoError(t, s.begin())
	return s
}

// adding is an operation that has f called in its conversation.
func adding(f func(c *Case)) func(context.Context, *Case) error {
	return func(ctx context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		err := db.add(ctx)
		f(c)
		return err
	}
}

// A conversation that ends its process is a violation, and the others go on in the next one.
func TestIsolatedCrashes(t *testing.T) {
	t.Parallel()
	s := isolated(t, rowsConfig("reset"), adding(func(c *Case) {
		switch c.Name() {
		case "request/byte_1/reset":
			go func() { panic("oh") }()
			select {}
		case "connect/slow":
			fmt.Println("a last word")
			os.Exit(3)
		case "answer/byte_2/reset":
			t.Errorf("not the Case's")
		}
	}))
	results, left := s.try()
	text, bad := s.report(results, left)
	assert.True(t, bad)
	for _, r := range results {
		if r.point.name() == "request/byte_1/reset" {
			assert.Regexp(t, `^goroutine .*\n.*TestIsolatedCrashes.func1.1\(\)\n\t.*isolate_test.go:`, r.Stacks)
		}
	}
	for _, want := range []string{
		`sweep: 21 conversations in `, `, 3 with violations; connection 1: request of 7 bytes, answer of 8`,
		"\n  crashes          request bytes 1 of 7 (\"I\"), reset: the process ended with panic: oh",
		"\n  crashes          connect, slow: the process ended with exit status 3",
		"\n  wrong            answer bytes 2 of 8 (\"o\"), reset: it failed the test by itself: give assertions the *sweep.Case, not the test",
		"connect/slow: crashes: the process ended with exit status 3\n  ended    it had not\n  again    go test -run '^TestIsolatedCrashes$/",
		"a last word", "\n  without package sweep\n    func TestIsolatedCrashesConnectSlow(t *testing.T) {\n    \tsockettest.Bubble(",
	} {
		assert.Contains(t, text, want)
	}
}

// What two bubbles must not share does not hinder conversations that each have a process.
func TestIsolatedWithSharedWaitGroup(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Max, cfg.Workers = 1, 1
	var wg sync.WaitGroup
	s := isolated(t, cfg, adding(func(*Case) { wg.Add(1) }))
	text, bad := s.report(s.try())
	assert.False(t, bad, text)
	assert.Contains(t, text, "each conversation had a process of its own, since one after another came to this: the process ended with fatal error:"+
		" sync: WaitGroup.Add called from multiple synctest bubbles")
}

// A data race fails the test, and is found where it was.
func TestIsolatedDataRace(t *testing.T) {
	t.Parallel()
	info, _ := debug.ReadBuildInfo()
	if !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("not built with -race")
	}
	s := isolated(t, rowsConfig("reset"), adding(func(c *Case) {
		if c.Name() == "connect/slow" {
			x, done := 0, make(chan int)
			go func() { x++; close(done) }()
			x++
			<-done
		}
	}))
	text, _ := s.report(s.try())
	assert.Contains(t, text, "\n  wrong            connect, slow: a data race: see what the race detector wrote")
	assert.Contains(t, text, ", 1 with violations")
	assert.Contains(t, text, "WARNING: DATA RACE")
}

// Bubbles that never end are left behind with their process.
func TestIsolatedDeadBubbles(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("s")
	cfg.Workers = 1
	s := isolated(t, cfg, adding(func(c *Case) {
		if c.Name() != "good" {
			go func() { select {} }()
			c.Errorf("pid %d", os.Getpid())
		}
	}))
	pids := map[string]int{}
	results, _ := s.try()
	for _, r := range results {
		require.True(t, r.is(leaks), r.point.name())
		pids[r.Found[0].Text]++
	}
	assert.Len(t, pids, (len(results)+mostDeadOfChild-1)/mostDeadOfChild)
	for _, n := range pids {
		assert.LessOrEqual(t, n, mostDeadOfChild)
	}
}

// Without isolation a panic of a timer's goroutine ends the process, and names the point: not on
// its own stack, which has no labels, but on others of its bubble.
func TestCrashOfTimerNamesThePoint(t *testing.T) {
	const env = "SWEEP_TEST_CRASH"
	if os.Getenv(env) != "" {
		Run(t, rowsConfig("reset"), adding(func(c *Case) {
			if c.Name() == "request/byte_1/reset" {
				time.AfterFunc(time.Millisecond, func() { panic("oh") })
				select {}
			}
		}))
		return
	}
	wait := manytests.Start(t, env+"=1", "-test.run=^TestCrashOfTimerNamesThePoint$")
	t.Parallel()
	text, err := wait()
	require.Error(t, err)
	bubble := regexp.MustCompile(`(?s)panic: oh.*?synctest bubble (\d+)`).FindStringSubmatch(text)
	require.NotNil(t, bubble, text)
	assert.Regexp(t, `synctest bubble `+bubble[1]+`\D.*"go test -run '\^TestCrashOfTimerNamesThePoint\$/\^request\$/\^byte_1\$/\^reset\$'"`, text)
}

// A sweep that is killed takes its children with it.
func TestIsolatedOrphans(t *testing.T) {
	const env = "SWEEP_TEST_ORPHAN"
	if addr := os.Getenv(env); addr != "" {
		isolated(t, rowsConfig("reset"), adding(func(*Case) {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			_, _ = conn.Read(make([]byte, 1))
		}))
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIsolatedOrphans$")
	cmd.Env = append(os.Environ(), env+"="+ln.Addr().String(), "TMPDIR="+t.TempDir())
	require.NoError(t, cmd.Start())
	t.Parallel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = cmd.Wait() // killed
		_ = ln.Close()
	}()
	child, err := ln.Accept()
	require.NoError(t, err)
	defer child.Close()
	require.NoError(t, cmd.Process.Kill())
	<-over
	_, err = child.Read(make([]byte, 1))
	assert.Error(t, err) // EOF, or RST where a system sends that
}

// sent is v as the other process has it.
func sent[T any](t *testing.T, v T) (got T) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &got))
	return got
}

// Whatever is known of the good conversation comes to the children, and a result to the parent.
func TestWireCarriesEveryField(t *testing.T) {
	t.Parallel()
	var c conversation
	var r result
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
		switch n++; v.Kind() {
		case reflect.Struct:
			for _, field := range v.Fields() {
				fill(field)
			}
		case reflect.Pointer, reflect.Func, reflect.Interface:
		case reflect.Array:
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString(fmt.Sprint(n))
		case reflect.Uint8:
			v.SetUint(uint64(n % 256))
		default:
			v.SetInt(int64(n))
		}
	}
	fill(reflect.ValueOf(&c).Elem())
	assert.Equal(t, c, sent(t, c))
	assert.Greater(t, n, 40)
	fill(reflect.ValueOf(&r).Elem())
	r.skipped, r.accepted, r.reason, r.was, r.crashed = "", nil, "", "", false // the parent's
	assert.Equal(t, r, sent(t, answerOf(r, false)).result(r.point))
	r.err, r.broken = io.EOF, os.ErrClosed
	got := sent(t, answerOf(r, false)).result(r.point)
	assert.Equal(t, "EOF *errors.errorString closed in call", fmt.Sprint(got.err, " ", typeOf(got.err), " ", outcomeOf(got.err)))
	assert.EqualError(t, got.broken, "file already closed")
}
