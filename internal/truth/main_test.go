package truth_test

import (
	"os"
	"testing"

	"example.com/go-sockettest/internal/manytests"
)

func TestMain(m *testing.M) {
	manytests.AtOnce()
	os.Exit(m.Run())
}
