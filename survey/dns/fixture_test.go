package dns_test

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/miekg/dns"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/udp"
)

// question asks for an address. Each has a random identifier.
func question() *dns.Msg { return new(dns.Msg).SetQuestion("sockettest.test.", dns.TypeA) }

// answer is a reply without records to a question in wire format, or nil if that is none.
func answer(question []byte) []byte {
	q := new(dns.Msg)
	if q.Unpack(question) != nil {
		return nil
	}
	a, err := new(dns.Msg).SetReply(q).Pack()
	if err != nil {
		return nil
	}
	return a
}

// datagrams answers each question that comes by UDP.
var datagrams = udp.Reply(answer)

// stream answers each question that comes by TCP, where a length of two bytes goes before each message (RFC 1035, section
// 4.2.2).
var stream = fixtures.Scripted{Steps: script.Script{script.Do(func(_ context.Context, c script.Conn) error {
	for {
		q, err := readMessage(c)
		if err != nil {
			return err
		}
		if _, err := c.Write(framed(answer(q))); err != nil {
			return err
		}
	}
})}}

// halfAnswer reads one question and begins its answer, of 64 bytes, with those of its length and one more.
func halfAnswer(then script.Step) fixtures.Fixture {
	return fixtures.Scripted{Steps: script.Script{
		script.Do(func(_ context.Context, c script.Conn) error {
			_, err := readMessage(c)
			return err
		}),
		script.Send("\x00\x40\x00"), then,
	}}
}

func readMessage(r io.Reader) ([]byte, error) {
	var length uint16
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	m := make([]byte, length)
	_, err := io.ReadFull(r, m)
	return m, err
}

func framed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
}
