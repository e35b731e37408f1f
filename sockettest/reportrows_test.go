package sockettest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
)

// did is the result of an operation that took n seconds.
func did(o Outcome, phase string, n int) Result {
	return Result{Outcome: o, Phase: phase, Elapsed: time.Duration(n) * time.Second}
}

func TestHistoryTellsTheOtherOperations(t *testing.T) {
	t.Parallel()
	var h history
	assert.Empty(t, h.others("TestTable"))
	h.note("TestTable/slow", did(TimedOut, "read", 3), true)
	h.note("TestOther", did(ResetByPeer, "read", 1), false)
	h.note("TestTable", did(Accepted, unknownPhase, 1), false)
	h.note("TestTable/own", did(Other, "dial", 2), true)
	assert.Equal(t, "3 operations before this in TestTable: slow FAILED (timed out in read, 3s); ok (accepted, 1s); "+
		"own FAILED (an error of its own in dial, 2s)", h.others("TestTable/next/deeper"))
	assert.Equal(t, "3 operations before this in TestTable: slow FAILED (timed out in read, 3s); ok (accepted, 1s); "+
		"FAILED (an error of its own in dial, 2s)", h.others("TestTable/own"), "its own have no name")
	assert.Equal(t, "1 operation before this in TestOther: ok (reset in read, 1s)", h.others("TestOther"))
	assert.Empty(t, h.others("TestTabl"), "no other test's")
}

// Of many operations the latest are told, in their order.
func TestHistoryKeepsTheLatestOperations(t *testing.T) {
	t.Parallel()
	var h history
	for i := range keepRows {
		h.note("TestTable", did(Accepted, unknownPhase, i+1), false)
	}
	assert.Contains(t, h.others("TestTable"), "8 operations before this in TestTable: ok (accepted, 1s); ok (accepted, 2s); ")
	for i := range 3 {
		h.note("TestTable", did(Accepted, unknownPhase, keepRows+i+1), false)
	}
	want := []string{"11 operations before this in TestTable, the last 8: ok (accepted, 4s)"}
	for i := 5; i <= 11; i++ {
		want = append(want, fmt.Sprintf("ok (accepted, %ds)", i))
	}
	assert.Equal(t, strings.Join(want, "; "), h.others("TestTable"))
}

// Of many tests the one that was seen first is forgotten.
func TestHistoryKeepsTheLatestTests(t *testing.T) {
	t.Parallel()
	var h history
	for i := range keepTests + 1 {
		h.note(fmt.Sprint("Test", i), did(Accepted, unknownPhase, 1), false)
	}
	assert.Empty(t, h.others("Test0"))
	for i := range keepTests {
		assert.NotEmpty(t, h.others(fmt.Sprint("Test", i+1)))
	}
}

// A test that runs again (go test -count) has nothing of its earlier run.
func TestHistoryForgetsAnEarlierRun(t *testing.T) {
	t.Parallel()
	var h history
	h.ended("TestTable") // of which nothing is known
	h.note("TestTable/a", did(ResetByPeer, "read", 1), false)
	h.note("TestTable/b", did(ResetByPeer, "read", 2), false)
	h.ended("TestTable/a")
	assert.Equal(t, "2 operations before this in TestTable: a ok (reset in read, 1s); ok (reset in read, 2s)", h.others("TestTable/b"))
	h.note("TestTable/a", did(ResetByPeer, "read", 3), false)
	assert.Equal(t, "1 operation before this in TestTable: ok (reset in read, 3s)", h.others("TestTable/a"))
	h.ended("TestTable/a")
	assert.Empty(t, h.others("TestTable/a"))
}

// The call's start comes before all that has happened since, also where nothing says at which event
// it began.
func TestTimelineBeginsWithTheCall(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	at := func(d time.Duration, k fixtures.EventKind) fixtures.Event {
		return fixtures.Event{At: d, Kind: k, Conn: 1}
	}
	accepted, received := at(2*ms, fixtures.ConnAccepted), at(3*ms, fixtures.Received)
	for _, tt := range []struct {
		name   string
		from   time.Duration
		events []fixtures.Event
		before int
	}{
		{"all since", 1 * ms, []fixtures.Event{accepted, received}, 0},
		{"at the same instant", 2 * ms, []fixtures.Event{accepted, received}, 0},
		{"between", 2*ms + 1, []fixtures.Event{accepted, received}, 1},
		{"all before", 4 * ms, []fixtures.Event{accepted, received}, 2},
		{"known", 2 * ms, []fixtures.Event{accepted, at(2*ms, fixtures.Looked), received}, 1},
		{"after what came since the look", 3 * ms, []fixtures.Event{at(1*ms, fixtures.Looked), accepted, received}, 1},
		{"known as the first", 2 * ms, []fixtures.Event{at(2*ms, fixtures.Looked), accepted, received}, 0},
	} {
		f := failure{from: tt.from, events: tt.events, result: Result{Outcome: Accepted, Elapsed: time.Second}, tested: "client"}.upToVerdict()
		assert.Contains(t, f.timeline()[tt.before], "the call under test starts", tt.name)
	}
}

// A failing report does not say that nothing was seen of what the fixture has yet to read.
func TestReportLooksAgain(t *testing.T) {
	t.Parallel()
	waiting, looks := reach{looked: true, seen: fixtures.Contact{Waiting: true}}, 0
	require.Contains(t, waiting.text(), "not visible")
	waiting.lookAgain(func() fixtures.Contact {
		looks++
		return fixtures.Contact{Waiting: true, Came: looks == 3}
	})
	assert.Equal(t, 3, looks)
	assert.Empty(t, waiting.text())
}
