package overall

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

const outside = "192.0.2.1:25" // rules:allow TEST-NET, and the guard stops it

func TestUnmodifiedCodeOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	needsOverlay(t)
	ep := sockettest.Start(t, fixtures.Echo{})
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	require.NoError(t, err)
	defer socket.Close()
	calls := map[string]func() error{
		"dial tcp " + outside:              func() error { _, err := net.Dial("tcp", outside); return err },
		"dial udp " + outside:              func() error { _, err := net.Dial("udp", outside); return err },
		"dial tcp [2001:db8::1]:80":        func() error { _, err := net.Dial("tcp6", "[2001:db8::1]:80"); return err },
		"dial tcp 192.0.2.1:465":           func() error { return smtp.SendMail("192.0.2.1:465", nil, "", nil, nil) }, // rules:allow stopped
		"lookup db.example":                func() error { _, err := net.Dial("tcp", "db.example:80"); return err },
		"lookup www.example":               func() error { _, err := (&http.Transport{}).RoundTrip(get(t, "http://www.example")); return err },
		"lookup mail.example":              func() error { _, err := net.LookupHost("mail.example"); return err },
		"lookup own.example":               func() error { _, err := new(net.Resolver).LookupIPAddr(t.Context(), "own.example"); return err },
		"(lookup at the name server|dial)": func() error { _, err := net.LookupTXT("txt.example"); return err },
	}
	for i, send := range []func(to netip.AddrPort) error{
		func(to netip.AddrPort) error { _, err := socket.WriteTo(nil, net.UDPAddrFromAddrPort(to)); return err },
		func(to netip.AddrPort) error {
			_, err := socket.WriteToUDP(nil, net.UDPAddrFromAddrPort(to))
			return err
		},
		func(to netip.AddrPort) error { _, err := socket.WriteToUDPAddrPort(nil, to); return err },
		func(to netip.AddrPort) error {
			_, _, err := socket.WriteMsgUDP(nil, nil, net.UDPAddrFromAddrPort(to))
			return err
		},
		func(to netip.AddrPort) error { _, _, err := socket.WriteMsgUDPAddrPort(nil, nil, to); return err },
	} {
		to := netip.AddrPortFrom(netip.MustParseAddrPort(outside).Addr(), uint16(i+1))
		calls["send udp "+to.String()] = func() error { return send(to) }
	}
	for what, call := range calls {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.OnlyLoopback(tb)
			_, err := socket.WriteTo(nil, socket.LocalAddr())
			assert.NoError(t, err, "to itself")
			if err := call(); assert.Error(t, err) {
				assert.ErrorContains(t, err, ": it is beyond loopback, and sockettest.OnlyLoopback is in force")
			}
			for _, to := range []string{ep.Addr(), "localhost:" + ep.Addr()[strings.LastIndexByte(ep.Addr(), ':')+1:]} {
				dialTCP(t, to)
			}
		})
		if what[0] != '(' {
			assert.Equal(t, 1, strings.Count(tb.Text(), "OnlyLoopback: "+what+": "), "%s: %s", what, tb.Text())
			what = strings.NewReplacer("[", `\[`, "]", `\]`).Replace(what)
		}
		assert.Regexp(t, `OnlyLoopback: `+what+`[^\n]*: it is beyond loopback\n  caller   \S+overall.TestUnmodifiedCode\S+  unmodified_guard_test.go:\d+\n`, tb.Text())
	}
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

// A simulated network, unix sockets and a dialer that sends nothing are allowed.
func TestUnmodifiedCodeOnLoopbackPasses(t *testing.T) {
	t.Parallel()
	needsOverlay(t)
	sockettest.OnlyLoopback(t)
	sockettest.OnlyLoopback(t)
	unmodified(t, func(t *testing.T, nw *simnet.Network) {
		db := nw.Host("db.example", "10.1.2.3")
		sockettest.Start(t, fixtures.Echo{}, sockettest.On(db), sockettest.Address("10.1.2.3:1717"))
		dialTCP(t, "db.example:1717")
	})
	sockettest.Bubble(t, func(t *testing.T) { // without a network
		d := sockettest.Dialer(t, fixtures.BlackHole{})
		d.Timeout = time.Minute
		begin := time.Now()
		_, err := d.Dial("tcp", outside)
		assert.ErrorContains(t, err, "i/o timeout")
		assert.Equal(t, time.Minute, time.Since(begin))
		tb := faketb.Run(t, func(tb *faketb.TB) {
			sockettest.OnlyLoopback(tb)
			_, err := net.Dial("tcp", "db.example:1717")
			assert.ErrorContains(t, err, "dial tcp: lookup db.example: ")
		})
		assert.Contains(t, tb.Text(), "OnlyLoopback: lookup db.example: ")
	})
	for _, name := range namesOfTheHostsFile(t) {
		_, err := net.LookupHost(name)
		require.NoError(t, err, name)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// namesOfTheHostsFile are those, if any, that Go's resolver finds without a name server.
func namesOfTheHostsFile(t *testing.T) (names []string) {
	t.Helper()
	silent := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }}
	file, _ := os.ReadFile("/etc/hosts")
	for name := range strings.FieldsSeq(string(file)) {
		if _, err := netip.ParseAddr(name); err == nil {
			continue
		}
		if _, err := silent.LookupHost(t.Context(), name); err == nil {
			names = append(names, name)
		}
	}
	return names
}
