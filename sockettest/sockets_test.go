package sockettest

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
)

// The report's last part, on data of every shape.
func TestReportShowsSockets(t *testing.T) {
	t.Parallel()
	addr := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	open := network.SocketInfo{State: "ESTABLISHED", RTO: 201 * time.Millisecond, SendWindow: 65536, ReceiveWindow: 65536}
	full, stuck := open, open
	full.Unread, full.ReceiveWindow = 1152, 0
	stuck.Unacked, stuck.Retransmits, stuck.RTO, stuck.SendWindow = 29376, 3, 816*time.Millisecond, 0
	dial := network.SocketInfo{State: "SYN-SENT", Retransmits: 1, RTO: 2 * time.Second, ReceiveWindow: 65495}
	fin := open
	fin.State = "CLOSE-WAIT"
	sockets := []fixtures.Sockets{
		{Conn: 1, Local: addr(37461), Peer: addr(40000), Own: &full, Other: &stuck},
		{Conn: 12, Local: addr(37461), Peer: addr(40002), Own: &fin},
		{Local: addr(37461), Peer: addr(40004), Other: &dial},
		{Local: addr(37461), Peer: addr(40006), Other: &dial},
		{Local: addr(37461), Peer: addr(40008), Other: &dial},
		{Local: addr(37461), Peer: addr(40010), Other: &dial},
		{Local: addr(37461), Peer: addr(40012), Other: &dial},
	}
	for _, tt := range []struct {
		name    string
		sockets []fixtures.Sockets
	}{{"many", sockets}, {"one", sockets[:1]}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Result{Outcome: Blocked, Phase: "write", Elapsed: time.Second, unblocked: true, sockets: tt.sockets}
			golden(t, failure{headline: "write: still blocked, want timed out", want: TimedOut.After(limit), slack: defaultSlack,
				result: r, tested: "client", fixture: "NeverRead{} on 127.0.0.1:37461",
				events: []fixtures.Event{{Kind: fixtures.Bound, Note: "listening"}}}.String())
		})
	}
}

// What the kernel says when an assertion fails: of a write that is blocked, and of a dial that
// nobody answers, before they are let go.
func TestExpectShowsSockets(t *testing.T) {
	manytests.KernelTimer(t)
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fixture fixtures.Fixture
	}{
		{"blocked write", fixtures.NeverRead{}},
		{"hung dial", fixtures.BlackHole{}},
		{"in the accept queue", fixtures.NeverAccept{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			needInfo(t)
			if tt.name == "hung dial" {
				manytests.NeedsMinTTL(t)
			}
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, tt.fixture)
				Expect(tb, ep, Accepted.Before(limit).Slack(0), func() error {
					c, err := net.Dial("tcp", ep.Addr())
					if err != nil {
						return err
					}
					defer c.Close()
					_, err = c.Write(make([]byte, 64<<20)) // more than any buffer takes
					return err
				})
			})
			golden(t, socketsOnly(steady(tb.Text())))
		})
	}
}

// The same for a client that misbehaves: its peer is the server under test.
func TestExpectEndShowsSockets(t *testing.T) {
	manytests.Long(t, "it waits a second beyond the window")
	t.Parallel()
	needInfo(t)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	tb := faketb.Run(t, func(tb *faketb.TB) {
		a := Start(tb, hostile.ConnectOnly{Target: ln.Addr().String()})
		ExpectEnd(tb, a, Disconnected.Before(limit).Slack(0))
	})
	golden(t, socketsOnly(steady(tb.Text())))
}

// needInfo skips where the system does not show both ends of a connection.
func needInfo(t *testing.T, opts ...Option) {
	t.Helper()
	ep := Start(t, fixtures.Echo{}, opts...)
	c, err := ep.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
	if _, err := ep.Conns()[0].Info(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
}

// socketsOnly leaves out what other tests look at.
func socketsOnly(text string) string {
	_, sockets, _ := strings.Cut(text, "\n  sockets ")
	return "  sockets " + sockets
}
