package sweeps

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var redisClient = subject{
	name: "redis", module: "github.com/redis/go-redis/v9",
	does: "password, SET, GET, INCR, a pipeline of two; its default retries",
	cfg:  sweep.Config{Server: serving(serveRedis), Limit: 11 * time.Second, Once: []string{"incr"}},
	op: func(ctx context.Context, c *sweep.Case) error {
		db := redis.NewClient(&redis.Options{Addr: c.Addr(), Dialer: c.DialContext, Password: "secret", ContextTimeoutEnabled: true, PoolSize: 2,
			MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond, DisableIdentity: true})
		defer c.Close(db.Close)
		err := within(ctx, func(ctx context.Context) error {
			if err := db.Set(ctx, "k", "v", 0).Err(); err != nil {
				return err
			}
			v, err := db.Get(ctx, "k").Result()
			if err != nil {
				return err
			}
			assert.Equal(c, "v", v)
			n, err := db.Incr(ctx, "n").Result()
			if err != nil {
				return err
			}
			assert.EqualValues(c, 1, n)
			var first, second *redis.StringCmd
			_, err = db.Pipelined(ctx, func(p redis.Pipeliner) error {
				first, second = p.Get(ctx, "k"), p.Get(ctx, "k")
				return nil
			})
			if err == nil {
				assert.Equal(c, "v v", first.Val()+" "+second.Val())
			}
			return err
		})
		c.Recovers(func(ctx context.Context) error {
			v, err := db.Get(ctx, "k").Result()
			if err == nil {
				assert.Equal(c, "v", v)
			}
			return err
		})
		return err
	},
}

var redisTwo = subject{
	name: "redis-two", module: "github.com/redis/go-redis/v9",
	does: "a pool of two: the same GET on both at once, twice; its default retries; without maintenance notifications (FINDINGS.md, go-redis 9)",
	cfg:  sweep.Config{Server: serving(serveRedis), Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		db := redis.NewClient(&redis.Options{Addr: c.Addr(), Dialer: c.DialContext, Password: "secret", ContextTimeoutEnabled: true, PoolSize: 2,
			MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
		defer c.Close(db.Close)
		get := func(ctx context.Context) error {
			v, err := db.Get(ctx, "k").Result()
			if err == nil {
				assert.Equal(c, "v", v)
			}
			return err
		}
		err := within(ctx, func(ctx context.Context) error { return twice(func() error { return get(ctx) }) })
		c.Recovers(get)
		return err
	},
}

func serveRedis(conn net.Conn) error { return answerRedis(conn) }

func answerRedis(conn io.ReadWriter) error {
	for r, n := bufio.NewReader(conn), 0; ; {
		words, err := redisCommand(r)
		if err != nil {
			return err
		}
		answer := "+OK\r\n"
		switch words[0] {
		case "hello":
			answer = "%2\r\n$5\r\nproto\r\n:3\r\n$6\r\nserver\r\n$5\r\nredis\r\n"
		case "get":
			answer = "$1\r\nv\r\n"
		case "incr":
			n++
			answer = ":" + strconv.Itoa(n) + "\r\n"
		case "client":
			if len(words) > 1 && words[1] == "maint_notifications" {
				answer = "-ERR unknown subcommand\r\n"
			}
		}
		if err := write(conn, answer); err != nil {
			return err
		}
	}
}

// redisCommand reads an array of strings.
func redisCommand(r *bufio.Reader) (words []string, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	for ; n > 0 && err == nil; n-- {
		if _, err = r.ReadString('\n'); err == nil {
			line, err = r.ReadString('\n')
			words = append(words, strings.ToLower(strings.TrimSpace(line)))
		}
	}
	return words, err
}
