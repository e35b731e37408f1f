package overall_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const (
	// kernelLimit is what a knob is set to in real time.
	kernelLimit = 100 * time.Millisecond
	// knobLimit is what a knob is set to in virtual time.
	knobLimit = 30 * time.Second
	// forever is what nobody waits for: a call that has not returned by then has nothing that would
	// make it.
	forever = 24 * time.Hour
)

// waits is how a call goes on without its knob.
var waits = sockettest.Blocked.For(forever)

// A knob is one way to bound a wait of the standard library: a row of docs/knobs.md, and the test
// that proves it. The test runs twice, with the knob and without, and fails if both end alike.
type knob struct {
	name    string          // as it is written in code
	trip    any             // the fixture that trips it, or a string in Markdown that tells of it
	with    sockettest.Want // the outcome with the knob
	without sockettest.Want // and without; Blocked is forever
	says    string          // for Other: what the error says that tells it from others
	note    string          // what else there is to know, for the last column; may be empty
	kernel  bool            // on the kernel's loopback, in real time: the call takes no dial function
	run     trial
}

// A trial runs what is under test, with the knob set to limit; 0 leaves it alone.
type trial func(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result

// A section is a part of docs/knobs.md.
type section struct {
	title string
	knobs []knob
}

// sections are all there is in docs/knobs.md, in this order.
func sections() []section {
	return []section{
		{"net", netKnobs()},
		{"net: keep-alive and middleboxes that forget", middleboxKnobs()},
		{"net/http: clients", httpKnobs()},
		{"crypto/tls: clients", tlsKnobs()},
		{"net/smtp: clients", smtpKnobs()},
		{"net/rpc: clients", rpcKnobs()},
		{"database/sql", sqlKnobs()},
		{"net: listeners", listenerKnobs()},
		{"net/http: servers", httpServerKnobs()},
		{"crypto/tls: servers", tlsServerKnobs()},
		{"net/rpc: servers", rpcServerKnobs()},
	}
}

// A caller makes the call under test, with the knob set to limit; 0 leaves it alone.
type caller func(t *testing.T, nw network.Stack, ep *fixtures.Endpoint, limit time.Duration) func(context.Context) error

// against is the trial of a client against a server that misbehaves.
func against(f fixtures.Fixture, make caller) trial {
	return func(t *testing.T, nw network.Stack, limit time.Duration, want sockettest.Want) sockettest.Result {
		ep := sockettest.Start(t, f, sockettest.On(nw))
		return sockettest.Expect(t, ep, want, make(t, nw, ep, limit))
	}
}

// TestKnobs runs each row.
func TestKnobs(t *testing.T) {
	t.Parallel()
	for _, s := range sections() {
		for _, k := range s.knobs {
			t.Run(s.title+" "+k.name, func(t *testing.T) {
				t.Parallel()
				t.Run("set", func(t *testing.T) { k.on(t, k.set) })
				t.Run("not set", func(t *testing.T) { k.on(t, k.notSet) })
			})
		}
	}
}

// on runs f beside all others, in virtual time if that can be.
func (k knob) on(t *testing.T, f func(t *testing.T, nw network.Stack)) {
	t.Helper()
	t.Parallel()
	if k.kernel {
		manytests.KernelTimer(t) // and those of package net are not shorter
		sockettest.NoLeaks(t)
		f(t, sockettest.Kernel)
		return
	}
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		f(t, simnet.New(t))
	})
}

func (k knob) set(t *testing.T, nw network.Stack) {
	t.Helper()
	r := k.run(t, nw, k.limit(), k.with)
	if k.says != "" {
		assert.ErrorContains(t, r.Err, k.says)
	}
}

// notSet shows that it is the knob that does it: what happens without is another thing.
func (k knob) notSet(t *testing.T, nw network.Stack) {
	t.Helper()
	r := k.run(t, nw, 0, k.without)
	if err := k.with.Check(r); err == nil && nw == sockettest.Kernel {
		t.Log("a machine that stalled made it as late as with the knob: that shows nothing")
	} else {
		require.Error(t, err, "without the knob it ends as with it: %s", k.with)
	}
}

// limit is what the knob is set to.
func (k knob) limit() time.Duration {
	if k.kernel {
		return kernelLimit
	}
	return knobLimit
}

// row writes the knob as a row of the table.
func (k knob) row() string {
	without := "no: " + k.plain(k.without)
	if strings.HasPrefix(k.without.String(), sockettest.Blocked.String()) {
		without = "yes"
	}
	if k.note != "" {
		without += "; " + k.note
	}
	trip, ok := k.trip.(string)
	if !ok {
		trip = "`" + strings.TrimPrefix(fmt.Sprintf("%T", k.trip), "fixtures.") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", k.name, trip, k.plain(k.with), without)
}

// plain says what is wanted as prose does.
func (k knob) plain(w sockettest.Want) string {
	s := strings.TrimSuffix(w.String(), " exactly")
	if k.says != "" {
		s = strings.Replace(s, sockettest.Other.String(), fmt.Sprintf("error %q", k.says), 1)
	}
	return s
}

// surveyKnobs begins what the survey's tests write.
const surveyKnobs = "## quic-go"

const knobsHead = `# Timeout knobs of the standard library, and of QUIC

What bounds which wait, which fixture shows it, and what happens without. Each row is a test, which runs with the knob and
without: ` + "`go test ./internal/overall -run Knobs`" + `. This file is written from the tests' own table by ` + "`go test ./internal/overall -run Knobs -update`" + `.

Knobs are set to 30 s and measured in virtual time, exactly; "after" was measured on the kernel's loopback. That a call
waits forever means that a day later it still did, by a bubble's clock.
`

// TestKnobsTable: docs/knobs.md says what the tests prove.
func TestKnobsTable(t *testing.T) {
	var b strings.Builder
	b.WriteString(knobsHead)
	for _, s := range sections() {
		fmt.Fprintf(&b, "\n## %s\n| knob | fixture that trips it | outcome | without it waits forever? |\n|---|---|---|---|\n", s.title)
		for _, k := range s.knobs {
			b.WriteString(k.row())
		}
	}
	file := filepath.Join("..", "..", "docs", "knobs.md")
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	ours, survey, others := strings.Cut(string(got), "\n"+surveyKnobs)
	require.True(t, others, "the survey's part is gone")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()+"\n"+surveyKnobs+survey), 0o644))
		return
	}
	assert.Equal(t, b.String(), ours, "out of date: run go test ./internal/overall -run Knobs -update")
}
