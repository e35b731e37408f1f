package sweeps

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/go-sockettest/sweep"
)

var kafkaClient = subject{
	name: "kafka-go", module: "github.com/segmentio/kafka-go",
	does: "its Conn: versions, a topic's partitions, twice; a deadline of 5 s",
	cfg:  sweep.Config{Server: serving(serveKafka), Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		use := func(ctx context.Context) error {
			conn, err := (&kafka.Dialer{ClientID: "sweeps", DialFunc: c.DialContext, Timeout: timeout}).DialContext(ctx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			defer c.Close(conn.Close)
			if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
				return err
			}
			for range 2 {
				parts, err := conn.ReadPartitions("topic")
				if err != nil {
					return err
				}
				assert.Len(c, parts, 1)
			}
			return nil
		}
		err := use(ctx)
		c.Recovers(use)
		return err
	},
}

var franzClient = subject{
	name: "franz-go", module: "github.com/twmb/franz-go",
	does: "versions, metadata, twice; its retries within 5 s",
	cfg:  sweep.Config{Server: serving(serveKafka), Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addr()), kgo.Dialer(func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = within(ctx, func(ctx context.Context) error {
				conn, err = c.DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		}), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
		if err != nil {
			return err
		}
		defer c.Close(func() error { cl.Close(); return nil })
		ask := func(ctx context.Context) error {
			return within(ctx, func(ctx context.Context) error {
				r, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
				if err == nil && assert.Len(c, r.Topics, 1) {
					assert.Equal(c, "topic", *r.Topics[0].Topic)
				}
				return err
			})
		}
		if err = ask(ctx); err == nil {
			err = ask(ctx)
		}
		c.Recovers(ask)
		return err
	},
}

// serveKafka is a broker that knows one topic.
func serveKafka(conn net.Conn) error {
	for {
		length := make([]byte, 4)
		if _, err := io.ReadFull(conn, length); err != nil {
			return err
		}
		request := make([]byte, min(binary.BigEndian.Uint32(length), 1<<16)) // key, version, correlation id and more
		if _, err := io.ReadFull(conn, request); err != nil || len(request) < 8 {
			return err
		}
		version := int16(binary.BigEndian.Uint16(request[2:]))
		var answer kmsg.Response
		switch kmsg.Key(binary.BigEndian.Uint16(request)) {
		case kmsg.ApiVersions:
			r := kmsg.NewPtrApiVersionsResponse()
			for _, k := range []kmsg.Key{kmsg.Metadata, kmsg.ApiVersions} {
				r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.Int16(), MaxVersion: 3})
			}
			r.Version, answer = version, r
		case kmsg.Metadata:
			r, topic := kmsg.NewPtrMetadataResponse(), kmsg.NewMetadataResponseTopic()
			topic.Topic = kmsg.StringPtr("topic")
			topic.Partitions = []kmsg.MetadataResponseTopicPartition{kmsg.NewMetadataResponseTopicPartition()}
			r.Topics = append(r.Topics, topic)
			r.Version, answer = version, r
		default:
			return nil
		}
		body := answer.AppendTo(append([]byte{}, request[4:8]...))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
			return err
		}
	}
}
