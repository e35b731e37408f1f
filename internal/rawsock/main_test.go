package rawsock

import (
	"os"
	"testing"

	"example.com/go-sockettest/internal/manytests"
)

func TestMain(m *testing.M) {
	manytests.AllAtOnce()
	manytests.Uses(2000, 256)
	os.Exit(m.Run())
}
