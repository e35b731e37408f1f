package simnet_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"example.com/go-sockettest/simnet"
)

// Outside a bubble, since TestConn runs subtests; and alone, since it gives a minute to a thousand
// exchanges, each of which waits behind all that is ready to run.
func TestConnIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		nw := simnet.New(nil)
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		if c1, err = nw.Dial("tcp", ln.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		c2, err = ln.Accept()
		return c1, c2, func() { _, _, _ = c1.Close(), c2.Close(), ln.Close() }, err
	})
}
