package truth_test

import (
	"testing"

	"example.com/go-sockettest/internal/manytests"
)

func TestMain(m *testing.M) { manytests.AtOnce(m) }
