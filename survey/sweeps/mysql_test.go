package sweeps

import (
	"context"
	"database/sql"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"example.com/go-sockettest/sweep"
)

var mysqlPool = subject{
	name: "mysql", module: "github.com/go-sql-driver/mysql",
	does: "database/sql: password, prepared query, a transaction with an insert",
	cfg:  sweep.Config{Server: serving(serveMySQL), Limit: 11 * time.Second, Once: []string{"insert into t"}},
	op: func(ctx context.Context, c *sweep.Case) error {
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.User, cfg.Logger, cfg.DialFunc = "tcp", c.Addr(), "user", &mysql.NopLogger{}, c.DialContext
		cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = timeout, timeout, timeout
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			return err
		}
		return useSQL(ctx, c, sql.OpenDB(connector), "select name from t where id > ?")
	},
}

// serveMySQL is as much of a server as the client needs.
func serveMySQL(conn net.Conn) error {
	send := func(seq byte, body string) error {
		n := len(body)
		return write(conn, string([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq})+body)
	}
	greeting := "\x0a8.0.0\x00\x01\x00\x00\x00" + "12345678\x00" + "\x00\x82" + "\x21" + "\x02\x00" + "\x08\x00" + "\x15" + strings.Repeat("\x00", 10) +
		"123456789012\x00" + "mysql_native_password\x00"
	if err := send(0, greeting); err != nil {
		return err
	}
	if _, err := mysqlPacket(conn); err != nil {
		return err
	}
	const ok, okRow, eof = "\x00\x00\x00\x02\x00\x00\x00", "\x00\x01\x00\x02\x00\x00\x00", "\xfe\x00\x00\x02\x00"
	column := func(name string) string {
		text := func(s string) string { return string(rune(len(s))) + s }
		return text("def") + text("db") + text("t") + text("t") + text(name) + text(name) + "\x0c\x21\x00\xff\x00\x00\x00\xfd\x00\x00\x00\x00\x00"
	}
	if err := send(2, ok); err != nil {
		return err
	}
	for {
		p, err := mysqlPacket(conn)
		if err != nil {
			return err
		}
		var answer []string
		switch {
		case p[0] == 0x01: // quit
			return nil
		case p[0] == 0x19: // close a statement: no answer
		case p[0] == 0x16: // prepare: one column, one parameter
			answer = []string{"\x00\x01\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00", column("?"), eof, column("name"), eof}
		case p[0] == 0x17: // execute: binary rows
			answer = []string{"\x01", column("name"), eof, "\x00\x00\x03one", "\x00\x00\x03two", eof}
		case strings.HasPrefix(string(p[1:]), "insert"):
			answer = []string{okRow}
		default:
			answer = []string{ok}
		}
		for i, a := range answer {
			if err := send(byte(i+1), a); err != nil {
				return err
			}
		}
	}
}

func mysqlPacket(r io.Reader) ([]byte, error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	body := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
	_, err := io.ReadFull(r, body)
	if err == nil && len(body) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}
