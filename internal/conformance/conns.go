package conformance

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// Conns runs golang.org/x/net/nettest.TestConn on connections of the stack. It runs subtests, so
// there is no bubble: a world's stack must work in real time too.
func Conns(t *testing.T, w World) {
	l := lab{w, w.New(t)}
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		p := l.listen(t)
		c := l.client(t, p)
		s := accept(t, p)
		return c, s, func() { _, _, _ = c.Reset(), s.Reset(), p.Close() }, nil
	})
}
