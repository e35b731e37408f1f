package knobs_test

import (
	"testing"

	"example.com/go-sockettest/sockettest"
)

func TestMain(m *testing.M) { sockettest.Main(m) }
