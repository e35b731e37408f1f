package dnsanswer

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"time"
)

// Resolver returns a resolver that asks lookup and no server.
func Resolver(lookup Lookup) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: Dial(lookup)}
}

// Dial fits [net.Resolver.Dial]: each connection leads to a name server in memory that asks lookup.
// It has no goroutine and needs no Close.
func Dial(lookup Lookup) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return &conn{lookup: lookup}, nil }
}

// A conn takes queries and gives the answers, each after two bytes with its length (RFC 1035,
// section 4.2.2): package net speaks so to what is no [net.PacketConn].
type conn struct {
	net.Conn // nil: the methods that are not here are not called
	lookup   Lookup
	answer   bytes.Buffer
}

// Write takes one query.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) > lengthBytes {
		c.answer.Write(Framed(Answer(b[lengthBytes:], c.lookup)))
	}
	return len(b), nil
}

func (c *conn) Read(b []byte) (int, error)     { return c.answer.Read(b) }
func (*conn) Close() error                     { return nil }
func (*conn) SetDeadline(time.Time) error      { return nil }
func (*conn) SetReadDeadline(time.Time) error  { return nil }
func (*conn) SetWriteDeadline(time.Time) error { return nil }
func (*conn) LocalAddr() net.Addr              { return inMemory }
func (*conn) RemoteAddr() net.Addr             { return inMemory }

var inMemory = &net.UnixAddr{Name: "dns in memory", Net: "unix"}

// lengthBytes come before each message on a stream.
const lengthBytes = 2

// Framed returns the message with its length before it, as it goes over a stream, and nil if there
// is no message or it is too long.
func Framed(message []byte) []byte {
	if len(message) == 0 || len(message) > math.MaxUint16 {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// ReadFramed returns the next message of a stream.
func ReadFramed(stream io.Reader) ([]byte, error) {
	var length [lengthBytes]byte
	if _, err := io.ReadFull(stream, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(stream, message)
	return message, err
}
