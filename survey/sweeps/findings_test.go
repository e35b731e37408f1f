package sweeps

import (
	"bufio"
	"context"
	"crypto/sha1"
	"database/sql"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/lib/pq"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
)

// silentPostgres lets a client in, and answers nothing else, CancelRequests included.
var silentPostgres = fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error {
	_, err := admit(pgproto3.NewBackend(c, c))
	return err
}), script.Discard()}}

// usePQ connects, and runs a call that has a context of 100 ms.
func usePQ(t *testing.T, call func(context.Context, *sql.Conn) error) *fixtures.Endpoint {
	t.Helper()
	ep := sockettest.Start(t, silentPostgres)
	connector, err := pq.NewConnector("postgres://user:secret@" + ep.Addr() + "/db?sslmode=disable&connect_timeout=60")
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	sockettest.Expect(t, ep, sockettest.Blocked.For(time.Second), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		return call(ctx, conn)
	})
	return ep
}

// FINDINGS.md, lib/pq 1: the context of a query does not end it; the driver asks the server to, and waits on.
func TestPQQueryOutlivesItsContext(t *testing.T) {
	t.Parallel()
	ep := usePQ(t, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "select 1")
		return err
	})
	assert.Len(t, ep.Conns(), 2, "the query's, and one for the CancelRequest")
}

// FINDINGS.md, lib/pq 2: BeginTx does not look at its context at all.
func TestPQBeginTxIgnoresItsContext(t *testing.T) {
	t.Parallel()
	ep := usePQ(t, func(ctx context.Context, conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err == nil {
			err = tx.Rollback()
		}
		return err
	})
	assert.Len(t, ep.Conns(), 1, "there is no CancelRequest either")
}

// FINDINGS.md, amqp091-go 1: Dial clears the deadline that the heartbeat has set, so that a connection which dies as soon as it
// is open is never found dead.
func TestAMQPHeartbeatIsLostWhenOpen(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{
		script.Do(func(_ context.Context, c script.Conn) error { return answerAMQP(c, true) }), script.Discard()}})
	const conns = 8 // it is a race, which the heartbeat loses nearly each time
	returned := make(chan error, conns)
	for range conns {
		conn, err := amqp.DialConfig("amqp://user:secret@"+ep.Addr()+"/", amqp.Config{Heartbeat: time.Second})
		require.NoError(t, err)
		go func() {
			_, err := conn.Channel()
			returned <- err
		}()
	}
	sockettest.Expect(t, ep, sockettest.Blocked.For(3*time.Second), func() error { // the heartbeat gives a dead server 1.5 s
		for range conns {
			<-returned
		}
		return nil
	})
}

// FINDINGS.md, coder/websocket 4: a message that is cut off is read as a whole one, where the end comes between two frames of it,
// behind a header, or where a read of its payload begins.
func TestCoderReadsACutMessageAsWhole(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ sent, got string }{
		"behind a header":    {"\x81\x05", ""},
		"between two frames": {"\x01\x06hello,", "hello,"},
		"behind 512 bytes":   {"\x81\x7e\x04\x00" + strings.Repeat("x", 512), strings.Repeat("x", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return err
				}
				sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				return write(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
					base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"+tt.sent)
			}), script.HalfClose(), script.Discard()}})
			ws, _, err := coder.Dial(t.Context(), "ws://"+ep.Addr(), nil)
			require.NoError(t, err)
			defer ws.CloseNow()
			_, got, err := ws.Read(t.Context())
			require.NoError(t, err, "an error is what it should be")
			assert.Equal(t, tt.got, string(got))
		})
	}
}

// FINDINGS.md, go-redis 8: a command that the server may have executed is sent again, by default.
func TestRedisSendsAnIncrementTwice(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error { return answerRedis(c) })}})
	ep.Arm(fixtures.Rule{Conn: 1, Match: "incr\r\n$1\r\nn\r\n", Do: fixtures.SendRST()}) // it has the command, and the answer is lost
	db := redis.NewClient(&redis.Options{Addr: ep.Addr()})
	defer db.Close()
	require.NoError(t, db.Incr(t.Context(), "n").Err())
	assert.Equal(t, 1, ep.Count(fixtures.RuleFired), "the first")
	assert.Len(t, ep.Conns(), 2, "and the second")
}

// FINDINGS.md, go-redis 9: a connection that dies in its handshake holds a lock that each other new connection needs, whatever
// contexts say.
func TestRedisHandshakeLocksTheClient(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error { return answerRedis(c) })}})
	ep.Arm(fixtures.Rule{Conn: 1, Match: "maint_notifications", Do: fixtures.DropRest()}) // the server does not get it whole
	db := redis.NewClient(&redis.Options{Addr: ep.Addr(), ContextTimeoutEnabled: true, ReadTimeout: -1, MaxRetries: -1})
	returned := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { returned <- db.Get(ctx, "k").Err() }()
	require.NoError(t, ep.Await(t.Context(), fixtures.RuleFired, 1))
	limited, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	go func() { returned <- db.Get(limited, "k").Err() }() // the server is well, and answers that it does not know the command
	<-limited.Done()
	sockettest.Expect(t, ep, sockettest.Blocked.For(500*time.Millisecond), func() error { return <-returned })
	require.NoError(t, db.Close())
}

// FINDINGS.md, grpc 9: there is no backoff behind a connection that sends its SETTINGS and ends.
func TestGRPCFloods(t *testing.T) {
	t.Parallel()
	ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Send("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"), script.HalfClose(), script.Discard()}})
	cc, err := grpc.NewClient("passthrough:///"+ep.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer cc.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		_ = ep.Await(ctx, fixtures.ConnAccepted, 50)
	}()
	for ctx.Err() == nil { // a call may end with one of the connections
		_, err = healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		require.Error(t, err)
	}
	conns := ep.Conns()
	require.GreaterOrEqual(t, len(conns), 50)
	assert.Less(t, conns[49].Opened()-conns[0].Opened(), time.Minute, "with the backoff that is specified it takes an hour")
}

// FINDINGS.md, net/http 1: HTTP/2 stays with a connection that is dead, however many requests time out on it.
func TestHTTP2StaysWithADeadConnection(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = serveHTTP(nil, true)(ln) })
	defer ln.Close()
	ep := sockettest.Start(t, fixtures.Forward{To: ln.Addr().String()})
	get := func(client *http.Client) error {
		resp, err := client.Get("http://" + ep.Addr() + "/hello")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return err
	}
	newClient := func() *http.Client {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	client := newClient()
	client.Timeout = time.Minute
	require.NoError(t, get(client))
	for _, way := range []fixtures.Way{fixtures.In, fixtures.Out} { // on this connection alone
		ep.Conns()[0].Arm(fixtures.Rule{Hits: way, Do: fixtures.DropRest()})
	}
	client.Timeout = 200 * time.Millisecond
	for range 4 {
		require.ErrorContains(t, get(client), "Client.Timeout exceeded")
	}
	assert.Len(t, ep.Conns(), 1, "it has not dialled again")
	fresh := newClient()
	fresh.Timeout = time.Minute
	require.NoError(t, get(fresh), "the server is well")
}
