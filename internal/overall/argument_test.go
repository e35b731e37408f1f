package overall_test

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/internal/argument"
)

func TestIsNil(t *testing.T) {
	t.Parallel()
	for _, x := range []any{nil, (*testing.T)(nil), error(nil), net.Conn((*net.TCPConn)(nil))} {
		assert.True(t, argument.IsNil(x), "%T", x)
	}
	for _, x := range []any{t, 0, "", []int(nil), struct{}{}, net.Conn(new(net.TCPConn))} {
		assert.False(t, argument.IsNil(x), "%T", x)
	}
}

func TestExclusiveInASerialTest(t *testing.T) {
	const key = "SOCKETTEST_TEST_EXCLUSIVE"
	t.Run("serial", func(t *testing.T) {
		assert.True(t, argument.Exclusive(t, key, "set"))
		assert.Equal(t, "set", os.Getenv(key))
	})
	assert.Empty(t, os.Getenv(key))
	t.Run("parallel", func(t *testing.T) {
		t.Parallel()
		assert.False(t, argument.Exclusive(t, key, "set"))
	})
}
