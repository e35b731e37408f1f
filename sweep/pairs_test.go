package sweep

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// retrying adds on a connection that breaks, and then on another, which may have a bug.
func retrying(bug string) func(context.Context, *Case) error {
	try := func(ctx context.Context, c *Case, bug string) error {
		ctx, cancel := context.WithTimeout(ctx, clientTimeout)
		defer cancel()
		conn, err := c.DialContext(ctx, "tcp", c.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		if bug == "" {
			_ = conn.SetDeadline(time.Now().Add(clientTimeout))
		}
		if _, err := io.WriteString(conn, "ADD\n"); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 4))
		return err
	}
	return func(ctx context.Context, c *Case) error {
		err := try(ctx, c, strings.TrimSuffix(bug, "only in the retry"))
		if errors.Is(err, syscall.ECONNRESET) {
			err = try(ctx, c, bug)
		}
		return err
	}
}

// What only two faults find is told. What one of them finds alone is told of that one.
func TestPairs(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("reset")
	cfg.Once, cfg.Pairs, cfg.Faults = nil, 40, append(cfg.Faults, rowsConfig("silence").Faults...)
	text, bad := sweepOver(t, cfg, retrying("only in the retry"))
	assert.True(t, bad)
	assert.Contains(t, text, "\n  40 pairs of faults on successive connections, drawn with -sweep.seed=1\n")
	assert.Regexp(t, `\n  hangs            \d+ pairs, such as \w+/byte_\d/reset/then/conn_2/\w+/byte_\d/silence: the operation had not returned after 55s`, text)
	assert.Equal(t, 1, strings.Count(text, "\n  hangs "), text)
	assert.NotContains(t, text, "never came")
	text, _ = sweepOver(t, cfg, retrying("no deadline"))
	assert.Contains(t, text, "\n  hangs            request bytes 0")
	assert.NotContains(t, text, "such as")
	text, bad = sweepOver(t, cfg, retrying(""))
	assert.False(t, bad, text)
	cfg.Map = filepath.Join(t.TempDir(), "pairs.map")
	require.NoError(t, os.WriteFile(cfg.Map, nil, 0o600))
	require.NoError(t, cfg.check())
	accepted := strings.NewReplacer("hangs # ?", "hangs # it is not used")
	s := &sweep{t: t, cfg: cfg, op: retrying("only in the retry")}
	require.NoError(t, s.begin())
	results, left := s.try()
	require.NoError(t, os.WriteFile(cfg.Map, []byte(accepted.Replace(s.draw(results, nil))), 0o600))
	text, bad = s.report(results, left)
	assert.False(t, bad, text)
	assert.Contains(t, text, "accepted for the reasons in")
	cfg.Pairs, cfg.Map = -1, ""
	text, bad = sweepOver(t, cfg, retrying("only in the retry"))
	assert.False(t, bad, text)
}

// A pair repeats by its name, also where connections have names.
func TestPairByName(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("")
	require.NoError(t, cfg.check())
	s := &sweep{t: t, cfg: cfg, op: retrying("only in the retry")}
	require.NoError(t, s.begin())
	for _, second := range []string{"conn_2/answer/byte_3/silence", "conn_2/connect/black-hole", "conn_2/connect/reset", "conn_12/request/byte_0/dead"} {
		p := s.pairNamed(s.points(true), "^TestPairByName$/^request$/^byte_4$/^reset$/^then$/^"+strings.ReplaceAll(regexp.QuoteMeta(second), "/", "$/^")+"$")
		if assert.NotNil(t, p, second) {
			assert.Equal(t, "request/byte_4/reset/then/"+second, p.name())
			assert.Equal(t, p.name(), s.pairNamed(s.points(true), s.pattern(*p)).name())
			r := s.one(*p, false)
			assert.Equal(t, second[:7] == "conn_2/", r.Fired, second)
			assert.Equal(t, strings.HasSuffix(second, "silence"), r.is(hangs))
		}
	}
	s.cfg.Names = map[string]string{"add": "ADD"}
	require.NoError(t, s.begin())
	p := s.pairNamed(s.points(true), "TestPairByName/add/request/byte_4/reset/then/add_2/answer/byte_3/silence")
	if assert.NotNil(t, p) {
		r := s.one(*p, false)
		assert.True(t, r.Fired && r.is(hangs))
	}
	for _, name := range []string{"TestPairByName/request/byte_4/reset", "TestPairByName/request/byte_9/reset/then/conn_2/connect/reset",
		"TestPairByName/add/request/byte_4/reset/then/conn_2/connect/late", "TestPairByName/add/request/byte_4/reset/then/x"} {
		assert.Nil(t, s.pairNamed(s.points(true), name), name)
	}
}

// A client that connects again at once, and says nothing before its next call, gets second faults
// on the connect: others would never strike.
func TestPairsOfASilentRetry(t *testing.T) {
	t.Parallel()
	cfg := rowsConfig("")
	cfg.Once, cfg.Pairs = nil, 20
	text, bad := sweepOver(t, cfg, func(ctx context.Context, c *Case) error {
		db := &client{c: c}
		defer c.Close(db.Close)
		err := db.add(ctx)
		if err == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, clientTimeout)
		defer cancel()
		conn, err2 := c.DialContext(ctx, "tcp", c.Addr())
		if err2 == nil {
			_ = conn.Close()
		}
		return errors.Join(err, err2)
	})
	assert.False(t, bad, text)
	assert.Contains(t, text, "\n  20 pairs of faults on successive connections")
	assert.NotContains(t, text, "never came")
}
