package sweeps

import (
	"context"
	"database/sql"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lib/pq"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var pgxPool = subject{
	name: "pgx", module: "github.com/jackc/pgx/v5",
	does: "pgxpool: password, prepared query, a transaction with an insert",
	cfg:  sweep.Config{Server: serving(servePostgres), Limit: 11 * time.Second, Once: []string{"insert into t"}},
	op: func(ctx context.Context, c *sweep.Case) error {
		cfg, err := pgxpool.ParseConfig("postgres://user:secret@" + c.Addr() + "/db?sslmode=disable&pool_max_conns=2")
		if err != nil {
			return err
		}
		cfg.ConnConfig.DialFunc = c.DialContext
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return err
		}
		defer c.Close(func() error { pool.Close(); return nil })
		err = within(ctx, func(ctx context.Context) error {
			rows, err := pool.Query(ctx, "select name from t where id > $1", 7)
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			assert.Equal(c, []string{"one", "two"}, names)
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, "insert into t values ('x')")
				if err == nil {
					assert.EqualValues(c, 1, tag.RowsAffected())
				}
				return err
			})
		})
		c.Recovers(func(ctx context.Context) error { return within(ctx, pool.Ping) })
		return err
	},
}

var pgxTwo = subject{
	name: "pgx-two", module: "github.com/jackc/pgx/v5",
	does: "pgxpool of two: the same query on both at once, twice",
	cfg:  sweep.Config{Server: serving(servePostgres), Limit: 11 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		cfg, err := pgxpool.ParseConfig("postgres://user:secret@" + c.Addr() + "/db?sslmode=disable&pool_max_conns=2")
		if err != nil {
			return err
		}
		cfg.ConnConfig.DialFunc = c.DialContext
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return err
		}
		defer c.Close(func() error { pool.Close(); return nil })
		err = within(ctx, func(ctx context.Context) error {
			return twice(func() error {
				rows, err := pool.Query(ctx, "select name from t where id > $1", 7)
				if err != nil {
					return err
				}
				names, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err == nil {
					assert.Equal(c, []string{"one", "two"}, names)
				}
				return err
			})
		})
		c.Recovers(func(ctx context.Context) error { return within(ctx, pool.Ping) })
		return err
	},
}

var libpq = subject{
	name: "pq", module: "github.com/lib/pq",
	does: "database/sql: password, query, a transaction with an insert; without silence, which hangs (FINDINGS.md, lib/pq 1 and 2)",
	cfg: sweep.Config{Server: serving(servePostgres), Limit: 11 * time.Second, Once: []string{"insert into t"},
		Faults: without("silence", "silence-reset", "dead", "cut", "cancel", "close")},
	op: func(ctx context.Context, c *sweep.Case) error {
		connector, err := pq.NewConnector("postgres://user:secret@" + c.Addr() + "/db?sslmode=disable&connect_timeout=5")
		if err != nil {
			return err
		}
		connector.Dialer(pqDialer{c})
		return useSQL(ctx, c, sql.OpenDB(connector), "select name from t where id > $1")
	},
}

// A pqDialer is what lib/pq takes.
type pqDialer struct{ c *sweep.Case }

func (d pqDialer) Dial(network, address string) (net.Conn, error) {
	return d.c.DialContext(context.Background(), network, address) // rules:allow the driver has no context here
}

func (d pqDialer) DialTimeout(network, address string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit) // rules:allow the driver has no context here
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d pqDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.c.DialContext(ctx, network, address)
}

// useSQL is a conversation by database/sql.
func useSQL(ctx context.Context, c *sweep.Case, db *sql.DB, query string) error {
	defer c.Close(db.Close)
	db.SetMaxOpenConns(2)
	err := within(ctx, func(ctx context.Context) error {
		names, err := queryNames(ctx, db, query)
		if err != nil {
			return err
		}
		assert.Equal(c, []string{"one", "two"}, names)
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		res, err := tx.ExecContext(ctx, "insert into t values ('x')")
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil {
			assert.EqualValues(c, 1, n)
			err = tx.Commit()
		}
		return err
	})
	c.Recovers(func(ctx context.Context) error { return within(ctx, db.PingContext) })
	return err
}

func queryNames(ctx context.Context, db *sql.DB, query string) (names []string, err error) {
	rows, err := db.QueryContext(ctx, query, 7)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		names = append(names, s)
	}
	return names, rows.Err()
}

// admit lets a client in that has a password, and reports whether it is there for a CancelRequest.
func admit(b *pgproto3.Backend) (cancel bool, err error) {
	first, err := b.ReceiveStartupMessage()
	if _, cancel = first.(*pgproto3.CancelRequest); err != nil || cancel {
		return cancel, err
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := b.Flush(); err != nil {
		return false, err
	}
	if _, err := b.Receive(); err != nil {
		return false, err
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte{0, 0, 0, 9}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return false, b.Flush()
}

// servePostgres is as much of a server as the clients need.
func servePostgres(conn net.Conn) error {
	b := pgproto3.NewBackend(conn, conn)
	if cancel, err := admit(b); err != nil || cancel {
		return err
	}
	status := byte('I')
	ready := func() { b.Send(&pgproto3.ReadyForQuery{TxStatus: status}) }
	names := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("name"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}}
	query := ""
	run := func() {
		switch {
		case strings.HasPrefix(query, "select"):
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("one")}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("two")}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")})
		case strings.HasPrefix(query, "insert"):
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")})
		case strings.HasPrefix(strings.ToLower(query), "begin"):
			status = 'T'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
		case strings.HasPrefix(strings.ToLower(query), "commit"), strings.HasPrefix(strings.ToLower(query), "rollback"):
			status = 'I'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte(strings.ToUpper(query))})
		default:
			b.Send(&pgproto3.EmptyQueryResponse{})
		}
	}
	for {
		if err := b.Flush(); err != nil {
			return err
		}
		m, err := b.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			query = m.String
			run()
			ready()
		case *pgproto3.Parse:
			query = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				var oids []uint32
				if strings.Contains(query, "$1") {
					oids = []uint32{20}
				}
				b.Send(&pgproto3.ParameterDescription{ParameterOIDs: oids})
			}
			if strings.HasPrefix(query, "select") {
				b.Send(names)
			} else {
				b.Send(&pgproto3.NoData{})
			}
		case *pgproto3.Bind:
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			run()
		case *pgproto3.Close:
			b.Send(&pgproto3.CloseComplete{})
		case *pgproto3.Sync:
			ready()
		case *pgproto3.Terminate:
			return nil
		}
	}
}
