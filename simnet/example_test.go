package simnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// A test to paste: a client that is to give up after 30 s, in microseconds.
func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30 * time.Second
		sockettest.NoLeaks(t)
		nw := simnet.New(t)
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(nw))

		sockettest.Expect(t, ep, sockettest.TimedOut.At(limit).In("read"), func(ctx context.Context) error { // the code under test
			c, err := nw.DialContext(ctx, "tcp", ep.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(limit))
			_, err = c.Read(make([]byte, 1))
			return err
		})
	})
}

// Code that takes no dial function, in a test that was built with the overlay.
func ExampleNetwork_Intercept() {
	var t *testing.T // the test
	sockettest.Bubble(t, func(t *testing.T) {
		nw := simnet.New(t)
		nw.Intercept(t)
		ep := sockettest.Start(t, fixtures.Silent{}) // on nw, without On
		client := http.Client{Timeout: 30 * time.Second}

		sockettest.Expect(t, ep, sockettest.TimedOut.At(30*time.Second), func() error {
			_, err := client.Get("http://" + ep.Addr())
			return err
		})
	})
}

// It is a network like any other in real time.
func ExampleNetwork() {
	nw := simnet.New(nil)
	ln, err := nw.Listen(context.Background(), "tcp", "127.0.0.1:80") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	client, err := nw.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		panic(err)
	}
	_, _ = client.Write([]byte("in the accept queue"))
	server, err := ln.Accept()
	if err != nil {
		panic(err)
	}
	_ = server.Close() // with bytes unread, so it is RST
	_, err = client.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, syscall.ECONNRESET))

	_ = ln.Close()
	_, err = nw.Dial("tcp", "127.0.0.1:80")
	fmt.Println(err)
	// Output:
	// true
	// dial tcp 127.0.0.1:80: connect: connection refused
}

// A cable that is pulled: the other end retransmits until it gives up, or the cable is back.
func ExampleConn_Partition() {
	nw := simnet.New(nil)
	ln, err := nw.Listen(context.Background(), "tcp", "127.0.0.1:80") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	client, err := nw.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		panic(err)
	}
	server, err := ln.Accept()
	if err != nil {
		panic(err)
	}
	_ = server.(*simnet.Conn).Partition()
	_, err = client.Write([]byte("on its way"))
	fmt.Println("written:", err)
	_ = server.(*simnet.Conn).Heal()
	b := make([]byte, 64)
	n, err := server.Read(b) // after 200 ms, when the client retransmits
	fmt.Println(string(b[:n]), err)
	_ = client.Close()
	// Output:
	// written: <nil>
	// on its way <nil>
}

// Two machines and what is between them.
func ExampleNetwork_Link() {
	nw := simnet.New(nil)
	app, db := nw.Host("app"), nw.Host("db")
	ln, err := db.Listen(context.Background(), "tcp", ":5432") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	slow := nw.Link(app, db).Latency(5 * time.Millisecond)
	begin := time.Now()
	c, err := app.Dial("tcp", "db:5432")
	fmt.Println("a round trip:", err, time.Since(begin) >= 10*time.Millisecond)
	slow()

	heal := app.To(db).Partition() // nothing that app sends arrives
	_ = c.(*simnet.Conn).SetUserTimeout(10 * time.Millisecond)
	_, _ = c.Write([]byte("SELECT 1"))
	_, err = c.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, syscall.ETIMEDOUT))
	heal()
	// Output:
	// a round trip: <nil> true
	// true
}

// A real network's bad day, the same on every run.
func ExampleLink_Loss() {
	nw := simnet.New(nil, simnet.Seed(17))
	app, db := nw.Host("app"), nw.Host("db")
	link := nw.Link(app, db)
	defer link.Latency(time.Millisecond)()
	defer link.Jitter(time.Millisecond)()
	defer link.Loss(0.01)()
	ln, err := db.Listen(context.Background(), "tcp", ":5432") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	c, err := app.Dial("tcp", "db:5432")
	if err != nil {
		panic(err)
	}
	server, err := ln.Accept()
	if err != nil {
		panic(err)
	}
	_, _ = c.Write(make([]byte, 100_000))
	_ = c.Close()
	n, err := io.Copy(io.Discard, server)
	fmt.Println(n, err)
	// Output:
	// 100000 <nil>
}

// A firewall forgets a connection on which nothing has passed for a while, and answers what comes
// then with RST.
func ExampleNetwork_ForgetReset() {
	nw := simnet.New(nil)
	ln, err := nw.Listen(context.Background(), "tcp", "127.0.0.1:80") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	c, err := nw.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		panic(err)
	}
	defer c.Close()

	defer nw.ForgetReset(time.Millisecond)() // less than keep-alive's 15 s, whose probes would keep it
	<-time.After(time.Millisecond)
	_, err = io.WriteString(c, "hello")
	fmt.Println(err)
	_, err = c.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, syscall.ECONNRESET))
	// Output:
	// <nil>
	// true
}

// A path that loses what is large: the connect and a small request pass, a large one does not.
func ExampleNetwork_MTU() {
	nw := simnet.New(nil)
	ln, err := nw.Listen(context.Background(), "tcp", "127.0.0.1:80") // rules:allow an example has no t.Context
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	defer nw.MTU(1400)()
	c, err := nw.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	server, err := ln.Accept()
	if err != nil {
		panic(err)
	}
	defer server.Close()

	for _, size := range []int{100, 1400} { // 52 bytes more with their headers
		if _, err := c.Write(make([]byte, size)); err != nil {
			panic(err)
		}
		n, err := server.Read(make([]byte, 2000))
		fmt.Println(n, errors.Is(err, os.ErrDeadlineExceeded))
		_ = server.SetReadDeadline(time.Now().Add(time.Millisecond)) // the second never comes
	}
	// Output:
	// 100 false
	// 0 true
}
