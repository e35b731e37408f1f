package exam_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

func TestWantsReadAsInTheTable(t *testing.T) {
	for text, w := range map[string]exam.Want{
		"rejected, at once":                       exam.AtOnce(sockettest.Rejected),
		"rejected in connect, at once":            exam.AtOnce(sockettest.Rejected).In("connect"),
		"timed out after the limit":               exam.AtLimit(sockettest.TimedOut),
		"timed out in read after 3 limits and 1s": exam.AtLimit(sockettest.TimedOut).In("read").Times(3).Plus(time.Second),
		"error \"EOF\" after 2s":                  exam.AtOnce(sockettest.ErrorIs(io.EOF)).Plus(2 * time.Second),
		"waits forever":                           exam.Never(),
		"still waiting after 3 limits":            exam.Never().Times(3),
	} {
		assert.Equal(t, text, w.String())
	}
}
