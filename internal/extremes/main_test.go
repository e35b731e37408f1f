// Package extremes_test calls what is exported with values at the edges of their types.
package extremes_test

import (
	"testing"

	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/sockettest"
)

func TestMain(m *testing.M) {
	manytests.AtOnce()
	sockettest.Main(m)
}
