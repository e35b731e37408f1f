package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/probe"
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
	for _, c := range checks() {
		for _, family := range c.Networks() {
			assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(c.String())+` +`+family+` +(yes|skipped) `, text)
		}
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil { // Linux: the one system whose mechanisms are known to this test
		assert.Regexp(t, `(?m)^BlackHole +tcp4 +yes +(IP_MINTTL|full accept queue) `, text)
		assert.Regexp(t, `(?m)^hostile\.NeverRead +tcp4 +yes +TCP_MAXSEG 1448, SO_RCVBUF 1 +\S+ +writes block after \d+ B$`, text)
		assert.Regexp(t, `(?m)^udp\.Refused +udp4 +yes +connected to itself `, text)
		assert.Regexp(t, `(?m)^NeverRead +tcp4 +yes +listening, TCP_MAXSEG 1448, SO_RCVBUF 1 +\S+ +writes block after \d+ B$`, text)
		assert.Regexp(t, `(?m)^SlowHandshake +tcp4 +yes +\S.* +60ms asked for, and it took `, text)
	}
}

func TestEachCheckHolds(t *testing.T) {
	t.Parallel()
	if !testing.Short() {
		t.Skip("TestDoctorFindsThisMachineWell runs them all, row by row")
	}
	for _, c := range checks() {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			assert.Zero(t, doctor(t.Context(), &out, []probe.Row{c}), out.String())
		})
	}
}

func TestMain(m *testing.M) {
	manytests.AtOnce()
	os.Exit(m.Run())
}

func TestDoctorFindsWhatDoesNotBehave(t *testing.T) {
	t.Parallel()
	for note, row := range map[string]probe.Row{
		"a connect should have been refused, and returned no error": as(fixtures.Echo{}, fixtures.Refused{}),
		"a connect failed":                             as(fixtures.Refused{}, fixtures.Echo{}),
		"SlowAccept.Delay is -1ns":                     as(fixtures.SlowAccept{Delay: -1}, fixtures.Echo{}),
		"hold of #1: use of closed network connection": {Fixture: fixtures.Echo{}, Judge: faulty},
	} {
		t.Run(note, func(t *testing.T) {
			t.Parallel()
			row.On = []string{"tcp4"}
			var out strings.Builder
			assert.Equal(t, 1, doctor(t.Context(), &out, []probe.Row{row}), out.String())
			assert.Regexp(t, `(?m)^`+row.String()+` +tcp4 +NO `, out.String())
			assert.Contains(t, out.String(), note)
		})
	}
}

// as is a fixture that is judged by another's row.
func as(f, other fixtures.Fixture) probe.Row {
	rows := probe.All()
	i := slices.IndexFunc(rows, func(r probe.Row) bool { return fmt.Sprintf("%T", r.Fixture) == fmt.Sprintf("%T", other) })
	return probe.Row{Fixture: f, Judge: rows[i].Judge}
}

// faulty asks for a fault that is not available.
func faulty(ctx context.Context, r probe.Running) (string, error) {
	ep := r.(*fixtures.Endpoint)
	c, err := ep.DialContext(ctx, "", "")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := ep.Await(ctx, fixtures.ConnAccepted, 1); err != nil {
		return "", err
	}
	if err := ep.Conns()[0].Close(); err != nil {
		return "", err
	}
	ep.Conns()[0].Hold()
	return "", errors.New("its consequence")
}

// Whoever waits sees each row as it comes: the second is judged until the first is printed.
func TestDoctorPrintsRowByRow(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	printed := make(chan struct{})
	at := []string{"tcp4"}
	go func() {
		doctor(t.Context(), out, []probe.Row{
			{Fixture: fixtures.Echo{}, On: at, Judge: func(context.Context, probe.Running) (string, error) { return "", nil }},
			{Fixture: fixtures.Silent{}, On: at, Judge: func(context.Context, probe.Running) (string, error) { <-printed; return "", nil }},
		})
		_ = out.Close()
	}()
	var lines []string
	for text := bufio.NewScanner(in); text.Scan(); {
		lines = append(lines, text.Text())
		if strings.HasPrefix(text.Text(), "Echo     tcp4     yes") {
			close(printed)
		}
	}
	require.Len(t, lines, 7)
	assert.True(t, strings.HasPrefix(lines[2], "FIXTURE"), lines)
	assert.True(t, strings.HasPrefix(lines[4], "Silent   tcp4     yes"), lines)
}

// absent is a fixture that no platform can give.
type absent struct{}

func (absent) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{}, fmt.Errorf("plan9: not here: %w", errors.ErrUnsupported)
}

func TestDoctorSkipsWhatCannotBe(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	assert.Zero(t, doctor(t.Context(), &out, []probe.Row{as(absent{}, fixtures.Echo{})}))
	assert.Regexp(t, `(?m)^sockettest.absent +tcp6 +skipped +main.absent\{\}: plan9: not here`, out.String())
	assert.Contains(t, out.String(), "0 work, 3 skipped, 0 do not behave")
}

func TestDoctorSkipsWithoutDescriptors(t *testing.T) {
	t.Parallel()
	none := []syscall.Errno{syscall.EMFILE, syscall.ENFILE}
	if runtime.GOOS == "windows" {
		none = []syscall.Errno{10024} // WSAEMFILE
	}
	for _, errno := range none {
		var out strings.Builder
		fails := func(context.Context, probe.Running) (string, error) {
			return "", os.NewSyscallError("accept4", errno)
		}
		assert.Zero(t, doctor(t.Context(), &out, []probe.Row{{Fixture: fixtures.Echo{}, On: []string{"tcp4"}, Judge: fails}}))
		assert.Regexp(t, `(?m)^Echo +tcp4 +skipped .*accept4: `, out.String())
	}
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
