// Package unmodified_test holds clients that dial by themselves: nothing tells them of a simulated network. Each is set
// to its longest limit, or has it by default, and meets it to the nanosecond. It needs the overlay of docs/unmodified.md.
package unmodified_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/go-ldap/ldap/v3"
	_ "github.com/go-sql-driver/mysql"
	"github.com/gorilla/websocket"
	"github.com/gosnmp/gosnmp"
	"github.com/jackc/pgx/v5"
	"github.com/jlaffaye/ftp"
	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const limit = 30 * time.Second

// A row is a client that meets a fixture.
type row struct {
	name    string
	fixture fixtures.Fixture // nil: datagrams that nobody answers
	took    time.Duration
	do      func(ctx context.Context, addr string) error
}

var rows = []row{
	{"gomemcache, in a pool", fixtures.Silent{}, limit, func(_ context.Context, addr string) error {
		c := memcache.New(addr)
		c.Timeout = limit
		defer c.Close()
		_, err := c.Get("k")
		return err
	}},
	{"gomemcache, connect", fixtures.BlackHole{}, limit, func(_ context.Context, addr string) error {
		c := memcache.New(addr)
		c.Timeout = limit
		defer c.Close()
		return c.Ping()
	}},
	{"amqp091, connect, by default", fixtures.BlackHole{}, 30 * time.Second, func(_ context.Context, addr string) error {
		_, err := amqp.Dial("amqp://" + addr)
		return err
	}},
	{"amqp091, handshake, by default", fixtures.Silent{}, 30 * time.Second, func(_ context.Context, addr string) error {
		_, err := amqp.Dial("amqp://" + addr)
		return err
	}},
	{"paho.mqtt, connect, by default", fixtures.BlackHole{}, 30 * time.Second, func(_ context.Context, addr string) error {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetProtocolVersion(4))
		token := c.Connect()
		token.Wait()
		return token.Error()
	}},
	{"go-ldap, connect, by default", fixtures.BlackHole{}, 60 * time.Second, func(_ context.Context, addr string) error {
		_, err := ldap.DialURL("ldap://" + addr)
		return err
	}},
	{"go-ldap, request", fixtures.Silent{}, limit, func(_ context.Context, addr string) error {
		c, err := ldap.DialURL("ldap://" + addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetTimeout(limit)
		return c.Bind("cn=a", "b")
	}},
	{"ftp, connect", fixtures.BlackHole{}, limit, func(_ context.Context, addr string) error {
		_, err := ftp.Dial(addr, ftp.DialWithTimeout(limit))
		return err
	}},
	{"gosnmp, four tries", nil, 4 * limit, func(ctx context.Context, addr string) error {
		c := &gosnmp.GoSNMP{Target: "127.0.0.1", Port: 161, Version: gosnmp.Version2c, Community: "public", Timeout: limit, Retries: 3, Context: ctx}
		if err := c.Connect(); err != nil {
			return err
		}
		defer c.Close()
		_, err := c.Get([]string{"1.3.6.1.2.1.1.1.0"})
		return err
	}},
	{"go-redis, read, in a pool", fixtures.Silent{}, limit, func(ctx context.Context, addr string) error {
		c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: limit, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
		defer c.Close()
		return c.Ping(ctx).Err()
	}},
	{"mysql, connect, in a pool", fixtures.BlackHole{}, limit, func(ctx context.Context, addr string) error {
		db, err := sql.Open("mysql", "u:p@tcp("+addr+")/d?timeout=30s")
		if err != nil {
			return err
		}
		defer db.Close()
		return db.PingContext(ctx)
	}},
	{"pgx, connect", fixtures.BlackHole{}, limit, func(ctx context.Context, addr string) error {
		_, err := pgx.Connect(ctx, "postgres://u:p@"+addr+"/d?connect_timeout=30&sslmode=disable")
		return err
	}},
	{"pgx, handshake", fixtures.Silent{}, limit, func(ctx context.Context, addr string) error {
		_, err := pgx.Connect(ctx, "postgres://u:p@"+addr+"/d?connect_timeout=30&sslmode=disable")
		return err
	}},
	{"miekg/dns, TCP", fixtures.Silent{}, limit, func(_ context.Context, addr string) error {
		_, _, err := (&dns.Client{Net: "tcp", Timeout: limit}).Exchange(new(dns.Msg).SetQuestion("a.test.", dns.TypeA), addr)
		return err
	}},
	{"miekg/dns, UDP", nil, limit, func(_ context.Context, addr string) error {
		_, _, err := (&dns.Client{Timeout: limit}).Exchange(new(dns.Msg).SetQuestion("a.test.", dns.TypeA), addr)
		return err
	}},
	{"x/crypto/ssh, connect", fixtures.BlackHole{}, limit, func(_ context.Context, addr string) error {
		_, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{Timeout: limit, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		return err
	}},
	{"nats, handshake", fixtures.Silent{}, limit, func(_ context.Context, addr string) error {
		_, err := nats.Connect("nats://"+addr, nats.Timeout(limit))
		return err
	}},
	{"gorilla/websocket, by default", fixtures.Silent{}, 45 * time.Second, func(ctx context.Context, addr string) error {
		_, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr, nil)
		return err
	}},
}

func TestUnmodifiedLimits(t *testing.T) {
	t.Parallel()
	if err := simnet.CanIntercept(); err != nil {
		t.Skip(err)
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			sockettest.Bubble(t, func(t *testing.T) {
				sockettest.NoLeaks(t)
				simnet.New(t).Intercept(t)
				begin := time.Now()
				require.Error(t, r.do(t.Context(), r.start(t)))
				assert.Equal(t, r.took, time.Since(begin))
			})
		})
	}
}

// start starts the fixture, and returns its address.
func (r row) start(t *testing.T) string {
	t.Helper()
	if r.fixture == nil {
		return sockettest.Start(t, udp.Silent{}, sockettest.Address("127.0.0.1:161")).Addr()
	}
	return sockettest.Start(t, r.fixture).Addr()
}
