package sweeps

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"example.com/go-sockettest/sweep"
)

var mongoClient = subject{
	name: "mongo", module: "go.mongodb.org/mongo-driver/v2",
	does: "two monitors and a pool: password, find and getMore, an insert; its default retries",
	cfg:  sweep.Config{Server: serveMongo, Limit: 16 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		client, err := mongo.Connect(options.Client().
			ApplyURI("mongodb://user:secret@" + c.Addr() + "/?directConnection=true&authMechanism=PLAIN&authSource=$external").
			SetDialer(c).SetConnectTimeout(timeout).SetServerSelectionTimeout(timeout).SetMaxPoolSize(2))
		if err != nil {
			return err
		}
		defer c.Close(func() error { return client.Disconnect(context.Background()) }) // rules:allow the operation's may have ended
		// Both monitors dial before the pool does, so that the order is the same each time.
		time.Sleep(100 * time.Millisecond) // rules:allow virtual time
		err = within(ctx, func(ctx context.Context) error { return useMongo(ctx, c, client.Database("db").Collection("t")) })
		c.Recovers(func(ctx context.Context) error {
			return within(ctx, func(ctx context.Context) error { return client.Ping(ctx, nil) })
		})
		return err
	},
}

func useMongo(ctx context.Context, c *sweep.Case, t *mongo.Collection) error {
	cursor, err := t.Find(ctx, bson.D{{Key: "id", Value: 7}})
	if err != nil {
		return err
	}
	var rows []struct{ Name string }
	if err := cursor.All(ctx, &rows); err != nil {
		return err
	}
	assert.Equal(c, []struct{ Name string }{{"one"}, {"two"}}, rows)
	r, err := t.InsertOne(ctx, bson.D{{Key: "_id", Value: "x"}})
	if err == nil {
		assert.Equal(c, "x", r.InsertedID)
	}
	return err
}

// serveMongo is as much of a replica set's primary as the client needs.
func serveMongo(ln net.Listener) error {
	s := &mongoServer{c: sweep.CaseOf(ln), beat: 10 * time.Second} // the client's default
	return serving(s.serve)(ln)
}

// A mongoServer tells of an insert that it must execute twice: one that comes again under another number.
type mongoServer struct {
	c    *sweep.Case
	mute []string      // commands that it does not answer
	beat time.Duration // between the answers of a stream
	mu   sync.Mutex
	id   string // of the session and the transaction of the first insert
}

const (
	mongoReply, mongoQuery, mongoMsg = 1, 2004, 2013
	moreToCome                       = 1 << 1
	exhaustAllowed                   = 1 << 16
)

// mongoHello is what both monitors and the pool hear.
var mongoHello = bson.D{
	{Key: "ismaster", Value: true}, {Key: "helloOk", Value: true}, {Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21},
	{Key: "maxBsonObjectSize", Value: 1 << 24}, {Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000},
	{Key: "setName", Value: "rs"}, {Key: "logicalSessionTimeoutMinutes", Value: 30}, {Key: "ok", Value: 1},
	{Key: "topologyVersion", Value: bson.D{{Key: "processId", Value: bson.ObjectID{1}}, {Key: "counter", Value: int64(1)}}},
}

func (s *mongoServer) serve(conn net.Conn) error {
	for {
		m := make([]byte, 16) // length, request, response to, opcode: little-endian
		if _, err := io.ReadFull(conn, m); err != nil {
			return err
		}
		m = append(m, make([]byte, min(binary.LittleEndian.Uint32(m), 1<<16)-16)...)
		if _, err := io.ReadFull(conn, m[16:]); err != nil {
			return err
		}
		at, stream := 16+4+1, binary.LittleEndian.Uint32(m[16:])&exhaustAllowed != 0 // flags and the kind of the section
		if binary.LittleEndian.Uint32(m[12:]) == mongoQuery {
			at, stream = 16+4+len("admin.$cmd\x00")+8, false // flags, collection, skip, limit
		}
		command, err := bson.Raw(m[at:]).IndexErr(0)
		if err != nil {
			return err
		}
		if slices.Contains(s.mute, command.Key()) {
			continue
		}
		err = answerMongo(conn, m, s.execute(command.Key(), m[at:]), stream)
		for err == nil && stream { // nothing has changed, for as long as the client said
			if err = conn.SetReadDeadline(time.Now().Add(s.beat)); err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = answerMongo(conn, m, mongoHello, true)
			}
		}
		if err != nil {
			return err
		}
	}
}

// execute returns the answer to a command.
func (s *mongoServer) execute(command string, doc bson.Raw) bson.D {
	rows := func(batch string, id int64, name string) bson.D {
		return bson.D{{Key: "cursor", Value: bson.D{{Key: batch, Value: bson.A{bson.D{{Key: "name", Value: name}}}},
			{Key: "id", Value: id}, {Key: "ns", Value: "db.t"}}}, {Key: "ok", Value: 1}}
	}
	switch command {
	case "hello", "isMaster", "ismaster":
		return mongoHello
	case "saslStart":
		return bson.D{{Key: "conversationId", Value: 1}, {Key: "done", Value: true}, {Key: "payload", Value: []byte{}}, {Key: "ok", Value: 1}}
	case "find":
		return rows("firstBatch", 9, "one")
	case "getMore":
		return rows("nextBatch", 0, "two")
	case "insert":
		id := doc.Lookup("lsid").String() + doc.Lookup("txnNumber").String()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.id == "" {
			s.id = id
		}
		if s.id != id {
			s.c.Errorf("inserted as %s and as %s", s.id, id)
		}
		return bson.D{{Key: "n", Value: 1}, {Key: "ok", Value: 1}}
	}
	return bson.D{{Key: "ok", Value: 1}}
}

// answerMongo answers a request.
func answerMongo(conn net.Conn, request []byte, answer bson.D, more bool) error {
	doc, err := bson.Marshal(answer)
	if err != nil {
		return err
	}
	opcode, before := uint32(mongoMsg), make([]byte, 5)
	if more {
		before[0] = moreToCome
	}
	if binary.LittleEndian.Uint32(request[12:]) == mongoQuery {
		opcode, before = mongoReply, append(make([]byte, 16), 1, 0, 0, 0) // flags, cursor, start; one document
	}
	reply := binary.LittleEndian.AppendUint32(nil, uint32(16+len(before)+len(doc)))
	reply = append(append(reply, 1, 0, 0, 0), request[4:8]...)
	reply = append(binary.LittleEndian.AppendUint32(reply, opcode), before...)
	return write(conn, string(append(reply, doc...)))
}
