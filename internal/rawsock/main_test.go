package rawsock

import (
	"os"
	"testing"

	"example.com/go-sockettest/internal/manytests"
)

func TestMain(m *testing.M) {
	manytests.AllAtOnce()
	os.Exit(m.Run())
}
