package calltimeout_test

import (
	"errors"
	"fmt"
	"net"
	"time"

	"example.com/go-sockettest/calltimeout"
)

func ExampleDialer() {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a server that never says anything
	if err != nil {
		panic(err)
	}
	defer ln.Close()

	c, err := calltimeout.Dialer{Timeout: time.Minute}.Dial("tcp", ln.Addr().String())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if err := c.SetTimeout(50 * time.Millisecond); err != nil {
		panic(err)
	}
	for range 2 {
		_, err = c.Read(make([]byte, 1))
		var ne net.Error
		fmt.Println("timed out:", errors.As(err, &ne) && ne.Timeout())
	}
	// Output:
	// timed out: true
	// timed out: true
}
