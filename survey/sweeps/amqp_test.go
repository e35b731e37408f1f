package sweeps

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var amqpClient = subject{
	name: "amqp", module: "github.com/rabbitmq/amqp091-go",
	does: "login, a channel in confirm mode, a queue, a message that is confirmed; a heartbeat of 5 s",
	cfg:  sweep.Config{Server: serving(serveAMQP), Limit: 21 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		publish := func(ctx context.Context) error {
			conn, err := amqp.DialConfig("amqp://user:secret@"+c.Addr()+"/", amqp.Config{Heartbeat: 5 * time.Second, Dial: func(network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				conn, err := c.DialContext(ctx, network, addr)
				if err == nil { // as amqp.DefaultDial does
					err = conn.SetDeadline(time.Now().Add(timeout))
				}
				return lateConn{conn}, err
			}})
			if err != nil {
				return err
			}
			defer c.Close(conn.Close)
			ch, err := conn.Channel()
			if err != nil {
				return err
			}
			if err := ch.Confirm(false); err != nil {
				return err
			}
			q, err := ch.QueueDeclare("queue", false, false, false, false, nil)
			if err != nil {
				return err
			}
			assert.Equal(c, "queue", q.Name)
			d, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, false, false, amqp.Publishing{Body: []byte("hello")})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ok, err := d.WaitContext(ctx)
			if err == nil && !ok {
				err = fmt.Errorf("not confirmed")
			}
			return err
		}
		err := publish(ctx)
		c.Recovers(publish)
		return err
	},
}

// A lateConn decides the client's race of FINDINGS.md, amqp091-go 1, as it nearly always ends: the reader sets its deadline, and
// then the caller clears all.
type lateConn struct{ net.Conn }

func (c lateConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		time.Sleep(time.Microsecond) // rules:allow virtual time
	}
	return c.Conn.SetDeadline(t)
}

// serveAMQP is as much of a broker as the client needs.
func serveAMQP(conn net.Conn) error { return answerAMQP(conn, false) }

// answerAMQP does so until the connection is open, or for good.
func answerAMQP(conn io.ReadWriter, silent bool) error {
	if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
		return err
	}
	send := func(channel uint16, class, method uint16, args string) error {
		body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), method)
		body = append(body, args...)
		f := binary.BigEndian.AppendUint16([]byte{1}, channel)
		f = binary.BigEndian.AppendUint32(f, uint32(len(body)))
		return write(conn, string(append(append(f, body...), 0xce)))
	}
	if err := send(0, 10, 10, "\x00\x09"+"\x00\x00\x00\x00"+"\x00\x00\x00\x05PLAIN"+"\x00\x00\x00\x05en_US"); err != nil {
		return err
	}
	for {
		header := make([]byte, 7)
		if _, err := io.ReadFull(conn, header); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(header[3:])+1)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		channel := binary.BigEndian.Uint16(header[1:])
		var err error
		switch {
		case header[0] == 3: // the body of a message
			err = send(channel, 60, 80, "\x00\x00\x00\x00\x00\x00\x00\x01\x00")
		case header[0] != 1:
		default:
			switch [2]uint16{binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])} {
			case [2]uint16{10, 11}: // start-ok: tune, without a heartbeat
				err = send(0, 10, 30, "\x00\x10\x00\x02\x00\x00\x00\x00")
			case [2]uint16{10, 40}: // open
				if err = send(0, 10, 41, "\x00"); silent {
					return err
				}
			case [2]uint16{20, 10}: // a channel
				err = send(channel, 20, 11, "\x00\x00\x00\x00")
			case [2]uint16{85, 10}: // confirms
				err = send(channel, 85, 11, "")
			case [2]uint16{50, 10}: // a queue
				err = send(channel, 50, 11, "\x05queue\x00\x00\x00\x00\x00\x00\x00\x00")
			case [2]uint16{20, 40}:
				err = send(channel, 20, 41, "")
			case [2]uint16{10, 50}:
				return send(0, 10, 51, "")
			}
		}
		if err != nil {
			return err
		}
	}
}
