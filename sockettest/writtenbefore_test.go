package sockettest_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/sockettest"
)

// fillsBuffers writes until neither side's buffer takes more, and counts.
func fillsBuffers(c net.Conn) (total int64) {
	for b, err := make([]byte, 64<<10), error(nil); err == nil; {
		var n int
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err = c.Write(b)
		total += int64(n)
	}
	_ = c.SetWriteDeadline(time.Time{})
	return total
}

// awaitBytes waits until the fixture has read that many.
func awaitBytes(ep *fixtures.Endpoint, want int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for got := int64(0); got < want; got, _ = ep.Conns()[0].Bytes() {
		<-tick.C
	}
}

// What the client had written before the operation is no contact, however late it comes: what was
// held, or cut off, sets out when that ends. What it writes behind it is.
func TestWrittenBeforeIsNoContact(t *testing.T) {
	t.Parallel()
	manytests.NeedsPlainTCP(t)
	manytests.NeedsMinTTL(t)
	for name, fault := range map[string]func(ep *fixtures.Endpoint) func(){
		"hold":                        (*fixtures.Endpoint).Hold,
		"hold of the connection":      func(ep *fixtures.Endpoint) func() { return ep.Conns()[0].Hold() },
		"partition":                   (*fixtures.Endpoint).Partition,
		"partition of the connection": func(ep *fixtures.Endpoint) func() { return ep.Conns()[0].Partition() },
	} {
		for _, sooner := range []bool{false, true} { // it ends before the operation, and not in it
			for _, writes := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					onBothNetworks(t, func(t *testing.T, _ dialFunc, opts ...sockettest.Option) {
						ep := sockettest.Start(t, fixtures.Discard{}, opts...)
						c, err := ep.DialContext(t.Context(), "", "")
						require.NoError(t, err)
						defer c.Close()
						require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
						end := fault(ep)
						total := fillsBuffers(c)
						if sooner {
							end()
						}
						op := func() error {
							end()
							if writes {
								n, _ := c.Write([]byte("x"))
								total += int64(n)
							}
							awaitBytes(ep, total)
							return errOwn
						}
						said := faketb.Run(t, func(tb *faketb.TB) { sockettest.Expect(tb, ep, sockettest.ErrorIs(errOwn).Unreached(), op) }).Text()
						assert.Equal(t, writes, said != "", said)
					})
				})
			}
		}
	}
}
