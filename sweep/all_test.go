package sweep

import (
	"context"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWhatIsNotTried(t *testing.T) {
	t.Parallel()
	p, other := point{conn: connID{N: 1}, place: answering, at: 7}, point{conn: connID{N: 1}, place: requesting}
	var l left
	for range mostFrozen {
		assert.Empty(t, l.skips(p))
		l.count(result{point: p, Frozen: true})
	}
	assert.Equal(t, stuck, l.skips(p))
	assert.Empty(t, l.skips(other))
	for range mostDead {
		assert.Empty(t, l.skips(other))
		l.count(result{Dead: true})
	}
	assert.Equal(t, stuck, l.skips(other))
	l = left{until: time.Now().Add(-time.Second)}
	assert.Equal(t, outOfTime, l.skips(p))
	l = left{until: time.Now().Add(time.Hour)}
	l.count(result{Busy: true})
	assert.Equal(t, stuck, l.skips(p))
}

// In 100 kB these are tried: the ends, both sides of each write, and 256 others.
func TestSample(t *testing.T) {
	t.Parallel()
	var p part
	for range 100 {
		p.add(make([]byte, 1000))
	}
	tried := p.sample(false)
	assert.Len(t, p.sample(true), 100_001)
	assert.Greater(t, len(tried), 2*ends+mostWrites*2*near)
	assert.Less(t, len(tried), steps+2*ends+mostWrites*(2*near+1))
	for _, at := range []int{0, 1, 63, 992, 1000, 1008, 62_992, 63_008, 200 * 391, 99_937, 100_000} {
		assert.Contains(t, tried, at)
	}
	assert.NotContains(t, tried, 991)
	assert.Empty(t, part{}.sample(true))
}

// A byte that was not tried ends no range.
func TestRanges(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "1-3, 7", ranges([]int{1, 2, 3, 7}, []int{0, 1, 2, 3, 4, 7, 8}))
	assert.Equal(t, "1-7, 9", ranges([]int{1, 2, 3, 7, 9}, []int{0, 1, 2, 3, 7, 8, 9}))
}

func TestMax(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Max = 10
	text, bad := sweepOver(t, cfg, using(""))
	assert.False(t, bad, text)
	assert.Contains(t, text, "sweep: 10 conversations in ")
	assert.Contains(t, text, "28 conversations not tried, since Config.Max is 10: those that were are drawn with -sweep.seed=1")
}

// Where an operation tries again it meets the fault on each connection, and a server that is gone.
func TestHarderPoints(t *testing.T) {
	t.Parallel()
	cfg := Config{Server: serveRows, Limit: time.Minute, Faults: DefaultFaults()[:1], Pairs: -1}
	text, _ := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		try := func() error {
			db := &client{c: c}
			defer c.Close(db.Close)
			return db.add(ctx)
		}
		err := try()
		for range 2 {
			if err == nil {
				break
			}
			time.Sleep(time.Second) // rules:allow it is in a bubble
			err = try()
		}
		if err != nil && (strings.HasPrefix(c.Name(), "every/") || strings.HasSuffix(c.Name(), "/gone")) {
			c.Errorf("%v", err)
		}
		return err
	})
	for _, want := range []string{
		`wrong            every time, connect, reset: read tcp `,
		`wrong            every time, request bytes 0-7 of 7 ("HI\nADD\n"), reset: read tcp `,
		`wrong            request bytes 0-7 of 7 ("HI\nADD\n"), gone: dial tcp 127.0.0.1:32769: connect: connection refused`,
		`wrong            every time, answer bytes 0-7 of 8 ("O\x02okO\x02ok"), reset: read tcp `,
		`wrong            answer bytes 0-7 of 8 ("O\x02okO\x02ok"), gone: dial tcp 127.0.0.1:32769: connect: connection refused`,
	} {
		assert.Contains(t, text, "\n  "+want)
	}
	assert.Equal(t, 5, strings.Count(text, "\n  wrong "), text)
}

// A conversation whose length varies is swept, and the report says where it begins to differ.
func TestVaryingLength(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	cfg := Config{Server: serveRows, Limit: 11 * time.Second, Max: 5}
	text, bad := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		return db.exchange(ctx, strings.Repeat("x", int(calls.Add(1))), func(r io.Reader) error {
			_, err := db.frame(r)
			return err
		})
	})
	assert.False(t, bad)
	assert.Contains(t, text, "not the same without a fault from run to run, so that a point may be another one each time:"+
		` request of connection 1: 5 and 6 bytes, which differ from byte 4 on, "\n" and "x\n"`)
}

func TestFloods(t *testing.T) {
	t.Parallel()
	cfg := Config{Server: serveRows, Limit: 11 * time.Second, Faults: DefaultFaults()[:1], Max: 2}
	text, _ := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		for begin := time.Now(); ; {
			db := &client{c: c}
			err := db.add(ctx)
			c.Close(db.Close)
			if err == nil || time.Since(begin) > 10*time.Second {
				return err
			}
		}
	})
	assert.Contains(t, text, "\n  floods           connect, refused: it dialled 300 times, and was kept from going on")
	assert.Contains(t, text, "\n  floods           every time, ")
}

// A panic of another goroutine ends the process. Its stack then has the command that repeats the
// point.
func TestCrashNamesThePoint(t *testing.T) {
	t.Parallel()
	cfg := Config{Server: serveRows, Limit: 11 * time.Second, Faults: DefaultFaults()[:1], Max: 3}
	text, _ := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		err := db.add(ctx)
		if c.Name() != "good" {
			stack := make(chan string)
			go func() { stack <- string(debug.Stack()) }()
			c.Errorf("%s", <-stack)
		}
		return err
	})
	assert.Regexp(t, `\{"?sweep"?: "go test -run '\^TestCrashNamesThePoint\$/\^answer\$/\^byte_\d\$/\^reset\$'"\}`, text)
}
