package overall_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/eyeballs"
)

// A conn notes that it was closed.
type conn struct {
	net.Conn
	name   string
	closed bool
}

func (c *conn) Close() error { c.closed = true; return nil }

// after dials in so much time, whatever becomes of the context: c, or an error if there is none.
func after(d time.Duration, c *conn) eyeballs.Dial {
	return func(context.Context) (net.Conn, error) {
		time.Sleep(d) // rules:allow in a bubble
		if c.name == "" {
			return nil, errors.New("no")
		}
		return c, nil
	}
}

func TestRace(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, tt := range map[string]struct {
		first, second         time.Duration
		firstName, secondName string
		wins                  string // nobody
		at                    time.Duration
		closed                string
	}{
		"at once":             {0, 0, "a", "b", "a", 0, ""},
		"late":                {5 * s, s, "a", "b", "b", 2 * s, "a"},
		"the first, late":     {2 * s, 5 * s, "a", "b", "a", 2 * s, "b"},
		"failed":              {0, s, "", "b", "b", s, ""},
		"both failed":         {0, s, "", "", "", s, ""},
		"the second failed":   {5 * s, s, "a", "", "a", 5 * s, ""},
		"both failed at last": {5 * s, s, "", "", "", 5 * s, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, b := &conn{name: tt.firstName}, &conn{name: tt.secondName}
				begin := time.Now()
				c, err := eyeballs.Race(t.Context(), after(tt.first, a), after(tt.second, b), s)
				assert.Equal(t, tt.at, time.Since(begin))
				if tt.wins == "" {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					assert.Equal(t, tt.wins, c.(*conn).name)
				}
				time.Sleep(time.Minute) // rules:allow in a bubble: the other one is over
				synctest.Wait()
				for _, c := range []*conn{a, b} {
					assert.Equal(t, c.closed, c.name == tt.closed && c.name != "", c.name)
				}
			})
		})
	}
}
