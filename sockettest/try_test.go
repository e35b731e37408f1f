package sockettest_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

func ExampleTry() {
	const limit = 50 * time.Millisecond
	err := sockettest.Try(func(t testing.TB) {
		ep := sockettest.Start(t, fixtures.BlackHole{})
		sockettest.Expect(t, ep, sockettest.TimedOut.After(limit), func() error {
			_, err := net.DialTimeout("tcp", ep.Addr(), limit)
			return err
		})
	})
	fmt.Println(err)
	// Output: <nil>
}

func TestTry(t *testing.T) {
	var order []string
	err := sockettest.Try(func(t testing.TB) {
		t.Cleanup(func() { order = append(order, "cleanup") })
		t.Error("one", 1)
		t.Fatal("two")
		order = append(order, "after Fatal")
	})
	require.EqualError(t, err, "one 1\ntwo")
	assert.Equal(t, []string{"cleanup"}, order)

	err = sockettest.Try(func(t testing.TB) { t.Skip("no IPv6") })
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "no IPv6")
	require.ErrorContains(t, sockettest.Try(nil), "f is nil")
}

func TestTryLeavesNothing(t *testing.T) {
	const key = "SOCKETTEST_TRY"
	before, err := os.Getwd()
	require.NoError(t, err)
	var dir string
	require.NoError(t, sockettest.Try(func(t testing.TB) {
		dir = t.TempDir()
		t.Chdir(dir)
		t.Setenv(key, "x")
		sockettest.NoLeaks(t)
		assert.Equal(t, "x", os.Getenv(key))
	}))
	after, err := os.Getwd()
	require.NoError(t, err)
	assert.Equal(t, before, after)
	assert.NoDirExists(t, dir)
	assert.Empty(t, os.Getenv(key))
}
