package kafka

import (
	"context"
	"encoding/binary"
	"net"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/survey/internal/exam"
)

// The requests that these tests know (kafka.apache.org/protocol).
const (
	produce       = 0
	listOffsets   = 2
	metadata      = 3
	saslHandshake = 17
	apiVersions   = 18
)

// answering is a broker that answers some requests, and leaves all others unanswered.
func answering(keys ...int16) fixtures.Fixture {
	known := map[int16]bool{}
	for _, k := range keys {
		known[k] = true
	}
	return fixtures.Scripted{Steps: script.Script{script.Do(func(ctx context.Context, c script.Conn) error {
		return script.Script{script.Forever(script.Answer(script.Frame{Length: 4}, func(request string) ([]string, error) {
			key := int16(binary.BigEndian.Uint16([]byte(request)))
			if !known[key] {
				return nil, nil
			}
			return []string{request[4:8] + string(answers[key](c.LocalAddr()))}, nil
		}))}.Run(ctx, c)
	})}}
}

// obliging is a broker that knows its way.
var obliging = exam.Honest(answering(apiVersions, metadata))

var answers = map[int16]func(net.Addr) []byte{
	apiVersions: func(net.Addr) []byte { // no error; from 0 to these versions
		b := []byte{0, 0, 0, 0, 0, 6}
		for _, k := range [][2]uint16{{produce, 2}, {1, 2}, {listOffsets, 1}, {metadata, 1}, {saslHandshake, 1}, {apiVersions, 0}} {
			b = binary.BigEndian.AppendUint16(b, k[0])
			b = binary.BigEndian.AppendUint16(b, 0)
			b = binary.BigEndian.AppendUint16(b, k[1])
		}
		return b
	},
	metadata: func(own net.Addr) []byte { // one broker, which leads the one partition of the one topic
		a := own.(*net.TCPAddr)
		b := []byte{0, 0, 0, 1, 0, 0, 0, 1}
		b = text(b, a.IP.String())
		b = binary.BigEndian.AppendUint32(b, uint32(a.Port))
		b = append(b, 0xff, 0xff)       // no rack
		b = append(b, 0, 0, 0, 1)       // the controller
		b = append(b, 0, 0, 0, 1, 0, 0) // a topic, without error
		b = text(b, "topic")
		b = append(b, 0)                            // not internal
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) // a partition, without error, number 0
		b = append(b, 0, 0, 0, 1)                   // its leader
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 1)       // its replica
		return append(b, 0, 0, 0, 1, 0, 0, 0, 1)    // which is in sync
	},
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
