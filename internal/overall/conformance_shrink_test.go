package overall_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/conformance"
)

// A program that fails is made as small as it can be: here it fails if a Reset comes after a write
// of two bytes or more.
func TestShrink(t *testing.T) {
	bad := func(p conformance.Program) bool {
		wrote := false
		for _, s := range p {
			wrote = wrote || s.Op == conformance.Write && s.N > 1
			if wrote && s.Op == conformance.Reset {
				return true
			}
		}
		return false
	}
	found := 0
	for seed := range uint64(200) {
		p := conformance.Decode(conformance.Bytes(seed))
		if !bad(p) {
			continue
		}
		found++
		small := p.Shrink(bad)
		require.Len(t, small, 2, "of seed %d", seed)
		assert.True(t, bad(small))
		assert.Equal(t, conformance.Reset, small[1].Op)
	}
	require.Positive(t, found)
}

// The programs of the fixed seeds must stay what they are, or a seed in a report means nothing.
func TestProgramsAreFixed(t *testing.T) {
	assert.Equal(t, conformance.Bytes(7), conformance.Bytes(7))
	assert.Equal(t, conformance.Decode(conformance.Bytes(7)), conformance.Decode(conformance.Bytes(7)))
	assert.NotEqual(t, conformance.Bytes(7), conformance.Bytes(8))
}

// A program and what it gave, as they are printed, are read by people.
func TestPrint(t *testing.T) {
	p := conformance.Program{
		{Op: conformance.Connect}, {Op: conformance.Accept}, {Op: conformance.Write, End: 0, N: 3},
		{Op: conformance.Read, End: 1, N: 5}, {Op: conformance.ReadDeadline, End: 1}, {Op: conformance.Deadline, End: 1, N: 1},
		{Op: conformance.Linger, End: 0}, {Op: conformance.Close, End: 0}, {Op: conformance.Read, End: 1, N: 5},
	}
	trace := p.Execute(t, seen(t))
	other := conformance.Trace{World: "other", Steps: append([]string{}, trace.Steps...)}
	other.Steps[8] = `0 "", EOF`
	golden := filepath.Join("testdata", "print.golden")
	got := p.Go(trace, other)
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestEncode(t *testing.T) {
	for seed := range uint64(200) {
		p := conformance.Decode(conformance.Bytes(seed))
		require.Equal(t, p, conformance.Decode(p.Encode()))
	}
}
