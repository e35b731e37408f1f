package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/manytests"
)

func TestDoctorFindsThisMachineWell(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: it waits row by row; TestEachCheckHolds runs the rows at once")
	}
	var out, errs strings.Builder
	require.Zero(t, run(t.Context(), &out, &errs, []string{"doctor"}), out.String())
	assert.Empty(t, errs.String())
	text := out.String()
	assert.Contains(t, text, "FIXTURE")
	assert.Contains(t, text, ", 0 do not behave")
	for _, c := range checks {
		for _, family := range c.networks() {
			assert.Regexp(t, `(?m)^`+c.String()+` +`+family+` +(yes|skipped) `, text)
		}
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil { // Linux: the one system whose mechanisms are known to this test
		assert.Regexp(t, `(?m)^BlackHole +tcp4 +yes +(IP_MINTTL|full accept queue) `, text)
		assert.Regexp(t, `(?m)^hostile\.NeverRead +tcp4 +yes +TCP_MAXSEG 1448, SO_RCVBUF 1 +\S+ +writes block after \d+ B$`, text)
		assert.Regexp(t, `(?m)^udp\.Refused +udp4 +yes +connected to itself `, text)
		assert.Regexp(t, `(?m)^NeverRead +tcp4 +yes +listening, TCP_MAXSEG 1448, SO_RCVBUF 1 +\S+ +writes block after \d+ B$`, text)
		assert.Regexp(t, `(?m)^SlowHandshake +tcp4 +yes +\S.* +100ms asked for, and it took `, text)
	}
}

func TestEachCheckHolds(t *testing.T) {
	t.Parallel()
	for _, c := range checks {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			assert.Zero(t, doctor(t.Context(), &out, []check{c}), out.String())
		})
	}
}

func TestMain(m *testing.M) {
	manytests.AtOnce()
	os.Exit(m.Run())
}

// Each probe is seen to fail at a fixture that behaves otherwise.
func TestDoctorFindsWhatDoesNotBehave(t *testing.T) {
	t.Parallel()
	p := pace{quiet: 10 * time.Second, delay: time.Hour} // so that a busy machine changes nothing
	for _, tt := range []struct {
		check
		note string
	}{
		{check{fixture: fixtures.Echo{}, holds: refuses}, "a connect was to be refused, and returned no error"},
		{check{fixture: fixtures.Echo{}, holds: p.answersNoSYN}, "a connect was to hang, and returned no error"},
		{check{fixture: fixtures.Refused{}, holds: p.answersNoSYN}, "connection refused"},
		{check{fixture: fixtures.Echo{}, holds: answersAsPlatform}, "a connect succeeded"},
		{check{fixture: fixtures.Echo{}, holds: findsNoFile}, "a connect was to find no file, and returned no error"},
		{check{fixture: fixtures.Echo{}, holds: p.connectsLate}, "a connect took"},
		{check{fixture: fixtures.NeverAccept{}, holds: p.admitsOne}, "a connect was to hang"},
		{check{fixture: fixtures.Echo{}, holds: p.saysNothing}, "a read was to wait, and returned 1, no error"},
		{check{fixture: fixtures.Close{}, holds: echoes}, `reading "hello": EOF`},
		{check{fixture: fixtures.SlowAccept{Delay: -1}, holds: echoes}, "SlowAccept.Delay is -1ns"},
		{check{fixture: fixtures.Echo{}, holds: p.answersLate}, "an answer took"},
		{check{fixture: fixtures.Close{}, holds: answers("hello")}, `read "" and then no error, want "hello" and FIN`},
		{check{fixture: fixtures.Close{}, holds: resets}, "a read was to be reset, and returned no error"},
		{check{fixture: fixtures.Close{}, holds: resetsThenEchoes}, "the first connection: a read was to be reset"},
		{check{fixture: fixtures.Reset{}, holds: resetsThenEchoes}, "the second connection"},
		{check{fixture: fixtures.Echo{}, holds: p.closesAfterUs}, "a read was to wait"},
		{check{fixture: fixtures.Silent{}, holds: p.blocksWrites}, "a write was to block"},
		{check{fixture: fixtures.Refused{}, holds: echoes}, "a connect failed"},
		{check{datagrams: udp.Echo{}, exchanges: refusesDatagrams}, `a read was to be refused, and returned "a", no error`},
		{check{datagrams: udp.Echo{}, exchanges: p.answersDatagramLate}, "an answer took"},
		{check{datagrams: udp.Echo{}, exchanges: p.datagrams("a", "")}, `after "" a read was to wait, and returned "a", no error`},
		{check{datagrams: udp.Echo{}, exchanges: p.datagrams("a b", "b a")}, `read "a", no error, want "b" of "b a"`},
		{check{datagrams: udp.Refused{}, exchanges: p.datagrams("a", "a")}, "connection refused"},
		{check{attack: halfClose, suffers: p.hears(1, "hello")}, "a read was to wait, and returned 0, EOF"},
		{check{attack: halfClose, suffers: isReset}, "a read was to be reset, and returned no error"},
		{check{attack: abort, suffers: answersAfterFIN}, `read "hello" and then`},
		{check{attack: splitEverywhere, suffers: p.hearsSlowly}, "a request took"},
		{check{attack: flood, suffers: p.cannotWrite}, "a write was to block"},
		{check{attack: halfClose, suffers: p.hears(1, "world")}, `connection 1 of 1: read "hello", want "world"`},
		{check{attack: impolite, suffers: converses}, `read "hullo", want "hello"`},
		{check{attack: func(string) hostile.Fixture { return hostile.Flood{} }, suffers: isReset}, "Flood.Target is empty"},
		{check{fixture: fixtures.Echo{}, holds: faulty}, "hold of #1: use of closed network connection"},
	} {
		t.Run(tt.note, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if tt.on = tcp; tt.datagrams != nil || tt.attack != nil {
				tt.on = nil
			}
			assert.Equal(t, 1, doctor(t.Context(), &out, []check{tt.check}), out.String())
			assert.Regexp(t, `(?m)^`+tt.String()+` +(tcp|udp)4 +NO `, out.String())
			assert.Contains(t, out.String(), tt.note)
		})
	}
}

// impolite does not wait for a greeting.
func impolite(s string) hostile.Fixture { return hostile.HalfClose{Target: s, Data: "hullo"} }

// faulty asks for a fault that cannot be had.
func faulty(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return exchange(ctx, ep, func(c conn) (string, error) {
		if err := c.expect("hello"); err != nil {
			return "", err
		}
		if err := ep.Conns()[0].Close(); err != nil {
			return "", err
		}
		ep.Conns()[0].Hold()
		return "", errors.New("its consequence")
	})
}

// absent is a fixture that no platform can give.
type absent struct{}

func (absent) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{}, fmt.Errorf("plan9: not here: %w", errors.ErrUnsupported)
}

func TestDoctorSkipsWhatCannotBe(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	assert.Zero(t, doctor(t.Context(), &out, []check{{fixture: absent{}, holds: echoes}}))
	assert.Regexp(t, `(?m)^absent +tcp6 +skipped +main.absent\{\}: plan9: not here`, out.String())
	assert.Contains(t, out.String(), "0 work, 3 skipped, 0 do not behave")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"nurse"}, {"doctor", "-v"}} {
		var out, errs strings.Builder
		assert.Equal(t, 2, run(t.Context(), &out, &errs, args))
		assert.Empty(t, out.String())
		assert.Contains(t, errs.String(), "usage: sockettest doctor")
	}
}

// No fixture is forgotten: each type of package fixtures and those below it with a method Plan is checked.
func TestDoctorKnowsEveryFixture(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"fixtures.Dual": true} // fallsBack starts one
	for _, c := range checks {
		known[fmt.Sprintf("%T", c.fixture)] = true
		known[fmt.Sprintf("%T", c.datagrams)] = true
		if c.attack != nil {
			known[fmt.Sprintf("%T", c.attack(""))] = true
		}
	}
	var files []string
	for _, dir := range []string{"", "udp/", "hostile/"} {
		more, err := filepath.Glob("../../fixtures/" + dir + "*.go")
		require.NoError(t, err)
		files = append(files, more...)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "Plan" {
				continue
			}
			if of, ok := f.Recv.List[0].Type.(*ast.Ident); ok && of.IsExported() {
				seen++
				assert.True(t, known[file.Name.Name+"."+of.Name], "%s: %s has no row in cmd/sockettest/checks.go", name, of.Name)
			}
		}
	}
	assert.Greater(t, seen, 30, "this test looks for the wrong thing")
}
