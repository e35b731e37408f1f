package sweeps

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
)

// startMongo starts a server that does not answer some commands, and a client with the defaults.
func startMongo(t *testing.T, do fixtures.Rule, mute ...string) (*fixtures.Endpoint, *mongo.Client) {
	t.Helper()
	ep := sockettest.Start(t, fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error {
		return (&mongoServer{mute: mute, beat: 100 * time.Millisecond}).serve(c)
	})}})
	ep.Arm(do)
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + ep.Addr() + "/?directConnection=true"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	return ep, client
}

// looked counts how often a context is asked whether it is over, and is over once that is enough.
type looked struct {
	context.Context
	n      atomic.Int64
	enough int64
	end    context.CancelFunc
}

func (l *looked) Done() <-chan struct{} {
	if l.n.Add(1) == l.enough {
		l.end()
	}
	return l.Context.Done()
}

// FINDINGS.md, mongo 4: a Disconnect whose context has a deadline computes without a pause while a connection is in use. Its
// select has a ticker of 100 ms, and a default.
func TestMongoDisconnectSpins(t *testing.T) {
	t.Parallel()
	ep, client := startMongo(t, fixtures.Rule{Match: "\x10ping\x00"}, "ping") // the rule tells that it has come
	returned := make(chan error, 1)
	go func() { returned <- client.Ping(t.Context(), nil) }()
	require.NoError(t, ep.Await(t.Context(), fixtures.RuleFired, 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the ticker would look 600 times
	defer cancel()
	l := &looked{Context: ctx, enough: 10_000, end: cancel}
	require.NoError(t, client.Disconnect(l))
	assert.GreaterOrEqual(t, l.n.Load(), l.enough)
	require.Error(t, <-returned)
}

// FINDINGS.md, mongo 5: the monitor does not pause behind a connection that was greeted and then ends. Nobody calls anything here.
func TestMongoMonitorFloods(t *testing.T) {
	t.Parallel()
	ep, _ := startMongo(t, fixtures.Rule{Match: "topologyVersion", Do: fixtures.SendRST()}) // what follows the greeting
	const many = 200
	require.NoError(t, ep.Await(t.Context(), fixtures.RuleFired, many))
	conns := ep.Conns()
	require.GreaterOrEqual(t, len(conns), many)
	assert.Less(t, conns[many-1].Opened()-conns[0].Opened(), time.Minute, "with the driver's pause of 500 ms it takes 100 s")
}

// FINDINGS.md, mongo 6: a context with a deadline makes the driver retry until it is over, without a pause. Without one it retries
// once.
func TestMongoRetriesWithoutAPause(t *testing.T) {
	t.Parallel()
	reset := fixtures.Rule{Match: "\x02find\x00", Do: fixtures.SendRST()}
	find := func(ctx context.Context, client *mongo.Client) error {
		return client.Database("db").Collection("t").FindOne(ctx, bson.D{}).Err()
	}
	ep, client := startMongo(t, reset)
	require.Error(t, find(context.WithoutCancel(t.Context()), client))
	assert.LessOrEqual(t, ep.Count(fixtures.RuleFired), 2)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const many = 50
	for n := 0; n < many; { // the call may end with a connection that is being opened: then another is made
		require.NoError(t, ctx.Err())
		ep, client := startMongo(t, reset)
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			defer cancel()
			_ = ep.Await(ctx, fixtures.RuleFired, many)
		}()
		require.Error(t, find(ctx, client))
		n = ep.Count(fixtures.RuleFired)
		cancel()
	}
}

// FINDINGS.md, mongo 7: Cursor.All outlives its context: it sends killCursors, and waits for the answer, without a limit.
func TestMongoCursorAllOutlivesItsContext(t *testing.T) {
	t.Parallel()
	ep, client := startMongo(t, fixtures.Rule{Match: "killCursors"}, "getMore", "killCursors") // the rule tells that it has come
	cursor, err := client.Database("db").Collection("t").Find(t.Context(), bson.D{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	returned := make(chan error, 1)
	go func() { returned <- cursor.All(ctx, &[]bson.D{}) }()
	require.NoError(t, ep.Await(t.Context(), fixtures.RuleFired, 1))
	<-ctx.Done() // the driver gives up a millisecond before
	sockettest.Expect(t, ep, sockettest.Blocked.For(500*time.Millisecond), func() error { return <-returned })
}
