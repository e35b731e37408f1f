// Package mongo holds mongo-driver to its limits.
package mongo

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// client names it in the table.
var client = exam.Client{Name: "mongo-driver", Module: "go.mongodb.org/mongo-driver/v2", Peer: obliging}

func TestMain(m *testing.M) { sockettest.Main(m) }

// silent is a server that greets whoever greets it, and answers nothing else.
var silent = fixtures.Scripted{Steps: script.Script{script.Do(greet)}}

// obliging is a server to which all is well.
var obliging = exam.Honest(fixtures.Scripted{Steps: script.Script{
	script.Do(func(_ context.Context, c script.Conn) error {
		return serve(c, func(uint32, []byte) bool { return true })
	}),
}})

const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// greet answers each hello, which is a legacy query at first and a message later.
func greet(_ context.Context, c script.Conn) error { return serve(c, isHello) }

// serve answers what it knows.
func serve(c script.Conn, known func(opcode uint32, body []byte) bool) error {
	for {
		header := make([]byte, 16) // length, request, response to, opcode: little-endian
		if _, err := io.ReadFull(c, header); err != nil {
			return err
		}
		body := make([]byte, binary.LittleEndian.Uint32(header)-16)
		if _, err := io.ReadFull(c, body); err != nil {
			return err
		}
		if !known(binary.LittleEndian.Uint32(header[12:]), body) {
			continue
		}
		if err := answer(c, header); err != nil {
			return err
		}
	}
}

// isHello looks at the first element of the command.
func isHello(opcode uint32, body []byte) bool {
	doc := body[5:] // flags and the kind of the section
	if opcode == opQuery {
		doc = body[4+len("admin.$cmd\x00")+8:] // flags, collection, skip, limit
	}
	e, err := bson.Raw(doc).IndexErr(0)
	return err == nil && (e.Key() == "hello" || e.Key() == "isMaster" || e.Key() == "ismaster")
}

func answer(w io.Writer, request []byte) error {
	doc, err := bson.Marshal(bson.D{
		{Key: "ismaster", Value: true}, {Key: "helloOk", Value: true}, {Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21},
		{Key: "maxBsonObjectSize", Value: 1 << 24}, {Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000},
		{Key: "ok", Value: 1},
	})
	if err != nil {
		return err
	}
	opcode, before := uint32(opMsg), make([]byte, 5)
	if binary.LittleEndian.Uint32(request[12:]) == opQuery {
		opcode, before = opReply, append(make([]byte, 16), 1, 0, 0, 0) // flags, cursor, start; one document
	}
	reply := binary.LittleEndian.AppendUint32(nil, uint32(16+len(before)+len(doc)))
	reply = binary.LittleEndian.AppendUint32(reply, 1)
	reply = append(reply, request[4:8]...)
	reply = binary.LittleEndian.AppendUint32(reply, opcode)
	_, err = w.Write(append(append(reply, before...), doc...))
	return err
}

// A dialer is what SetDialer takes.
type dialer struct{ p exam.Place }

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.p.DialContext(ctx, network, address)
}

// open returns a client. It connects by itself, in the background.
func open(t testing.TB, p exam.Place, set func(*options.ClientOptions, time.Duration)) *mongo.Client {
	t.Helper()
	o := options.Client().ApplyURI("mongodb://" + p.Addr() + "/?directConnection=true")
	if p.Virtual {
		o.SetDialer(dialer{p})
	}
	set(o, p.Limit)
	c, err := mongo.Connect(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Disconnect(context.WithoutCancel(t.Context())))
	})
	return c
}

type op = func(testing.TB, exam.Place) func(context.Context) error

// ping asks, without a limit of its own.
func ping(set func(*options.ClientOptions, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error { return c.Ping(ctx, nil) }
	}
}

// pingWithin has a context that ends.
func pingWithin(set func(*options.ClientOptions, time.Duration)) op {
	return func(t testing.TB, p exam.Place) func(context.Context) error {
		c := open(t, p, set)
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.Limit)
			defer cancel()
			return c.Ping(ctx, nil)
		}
	}
}

func selection(o *options.ClientOptions, d time.Duration) { o.SetServerSelectionTimeout(d) }
func operation(o *options.ClientOptions, d time.Duration) { o.SetTimeout(d) }
func connectOnly(o *options.ClientOptions, d time.Duration) {
	o.SetConnectTimeout(d).SetServerSelectionTimeout(time.Hour)
}
func none(o *options.ClientOptions, _ time.Duration) { o.SetServerSelectionTimeout(time.Hour) }

func TestMongo(t *testing.T) {
	t.Parallel()
	const (
		choose = "SetServerSelectionTimeout (default 30s)"
		whole  = "SetTimeout (default none)"
		ctx    = "the context"
	)
	exam.Run(t, client, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(selection)},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(selection)},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(selection)},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(selection)},
		{Name: exam.WentSilent, Fixture: silent, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(none)},
		{Name: exam.WentSilent + ", operation", Fixture: silent, Knob: whole, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(operation)},
		{Name: exam.WentSilent + ", no limit", Fixture: silent, Knob: "none", Want: exam.Never(), Op: ping(none)},
		{Name: exam.BlackHoled + ", context", Fixture: fixtures.BlackHole{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(none)},
		{Name: exam.BlackHoled + ", operation", Fixture: fixtures.BlackHole{}, Knob: whole, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(operation)},
		{Name: exam.BlackHoled + ", connect limit only", Fixture: fixtures.BlackHole{}, Knob: "SetConnectTimeout (default 30s), which is for each dial", Want: exam.Never().Times(3), Op: ping(connectOnly)},
	})
}
