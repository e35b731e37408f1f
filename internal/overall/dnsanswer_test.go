package overall_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"example.com/go-sockettest/internal/dnsanswer"
)

// zone has a name for each kind of answer.
func zone(name string) dnsanswer.Reply {
	switch name {
	case "both.test":
		return dnsanswer.Reply{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.2")}}
	case "empty.test":
		return dnsanswer.Reply{}
	case "broken.test":
		return dnsanswer.Reply{Code: dnsmessage.RCodeServerFailure, Addrs: []netip.Addr{netip.IPv6Loopback()}}
	case "long.test":
		return dnsanswer.Reply{Truncated: true, Addrs: []netip.Addr{netip.IPv6Loopback()}}
	}
	return dnsanswer.NoSuchName
}

func query(t *testing.T, name string, kind dnsmessage.Type, class dnsmessage.Class) []byte {
	t.Helper()
	b, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1717, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: class}},
	}).Pack()
	require.NoError(t, err)
	return b
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, asks string
		kind       dnsmessage.Type
		class      dnsmessage.Class
		code       dnsmessage.RCode
		truncated  bool
		addrs      []string
	}{
		{name: "IPv4", asks: "both.test.", kind: dnsmessage.TypeA, addrs: []string{"127.0.0.1", "127.0.0.2"}},
		{name: "IPv6", asks: "both.test.", kind: dnsmessage.TypeAAAA, addrs: []string{"::1"}},
		{name: "any case", asks: "Both.TEST.", kind: dnsmessage.TypeAAAA, addrs: []string{"::1"}},
		{name: "another type", asks: "both.test.", kind: dnsmessage.TypeMX},
		{name: "another class", asks: "both.test.", kind: dnsmessage.TypeA, class: dnsmessage.ClassCHAOS},
		{name: "no address", asks: "empty.test.", kind: dnsmessage.TypeA},
		{name: "no such name", asks: "www.both.test.", kind: dnsmessage.TypeA, code: dnsmessage.RCodeNameError},
		{name: "no such name of another type", asks: "1.0.0.127.in-addr.arpa.", kind: dnsmessage.TypePTR, code: dnsmessage.RCodeNameError},
		{name: "failure", asks: "broken.test.", kind: dnsmessage.TypeAAAA, code: dnsmessage.RCodeServerFailure},
		{name: "truncated", asks: "long.test.", kind: dnsmessage.TypeAAAA, truncated: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			class := tt.class
			if class == 0 {
				class = dnsmessage.ClassINET
			}
			var m dnsmessage.Message
			require.NoError(t, m.Unpack(dnsanswer.Answer(query(t, tt.asks, tt.kind, class), zone)))
			assert.Equal(t, dnsmessage.Header{ID: 0x1717, Response: true, Authoritative: true, RecursionDesired: true,
				RecursionAvailable: true, Truncated: tt.truncated, RCode: tt.code}, m.Header)
			require.Len(t, m.Questions, 1)
			assert.Equal(t, tt.asks, m.Questions[0].Name.String(), "as it was asked")
			var got []string
			for _, r := range m.Answers {
				assert.Zero(t, r.Header.TTL)
				switch b := r.Body.(type) {
				case *dnsmessage.AResource:
					got = append(got, netip.AddrFrom4(b.A).String())
				case *dnsmessage.AAAAResource:
					got = append(got, netip.AddrFrom16(b.AAAA).String())
				}
			}
			assert.Equal(t, tt.addrs, got)
		})
	}
}

const header = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"

// What is no query gets an answer that says so, or none.
var nonsense = map[string]struct{ query, want string }{
	"nothing":              {"", ""},
	"half a header":        {header[:6], ""},
	"an answer":            {"\x12\x34\x81\x00" + header[4:], ""},
	"no question":          {"\x12\x34\x01\x00\x00\x00" + header[6:], malformed},
	"nothing behind":       {header, malformed},
	"half a name":          {header + "\x04du", malformed},
	"a name without end":   {header + "\x04dual\x04test", malformed},
	"a pointer to itself":  {header + "\xc0\x0c\x00\x01\x00\x01", malformed},
	"a name without type":  {header + "\x04dual\x04test\x00\x00\x01", malformed},
	"the root, of no type": {header + "\x00\x00\x00\x00\x00", "\x12\x34\x85\x83\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
}

const malformed = "\x12\x34\x85\x81\x00\x00\x00\x00\x00\x00\x00\x00" // FORMERR

func TestAnswerHeedsNoNonsense(t *testing.T) {
	t.Parallel()
	for name, tt := range nonsense {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, string(dnsanswer.Answer([]byte(tt.query), zone)))
		})
	}
}

func FuzzAnswer(f *testing.F) {
	for _, tt := range nonsense {
		f.Add([]byte(tt.query))
	}
	f.Add([]byte(header + "\x04both\x04test\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, query []byte) {
		b := dnsanswer.Answer(query, zone)
		var m dnsmessage.Message
		if b != nil && m.Unpack(b) != nil {
			t.Errorf("%q is answered with %q, which is no message", query, b)
		}
	})
}

// Over a stream each message comes after its length; nonsense breaks nothing, and is followed by
// what makes sense.
func TestDial(t *testing.T) {
	t.Parallel()
	c, err := dnsanswer.Dial(zone)(t.Context(), "udp", "127.0.0.1:53")
	require.NoError(t, err)
	for _, tt := range nonsense {
		n, err := c.Write(dnsanswer.Framed([]byte(tt.query)))
		require.NoError(t, err)
		assert.Equal(t, len(dnsanswer.Framed([]byte(tt.query))), n)
		b := make([]byte, 512)
		n, _ = c.Read(b)
		assert.Equal(t, string(dnsanswer.Framed([]byte(tt.want))), string(b[:n]))
	}
	require.NoError(t, c.Close())
	assert.Nil(t, dnsanswer.Framed(make([]byte, 1<<16)))
}

func TestResolver(t *testing.T) {
	t.Parallel()
	r := dnsanswer.Resolver(zone)
	addrs, err := r.LookupHost(t.Context(), "both.test.")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"::1", "127.0.0.1", "127.0.0.2"}, addrs)
	for name, want := range map[string]net.DNSError{
		"none.test.":   {IsNotFound: true},
		"empty.test.":  {IsNotFound: true},
		"broken.test.": {IsTemporary: true},
	} {
		_, err := r.LookupHost(t.Context(), name)
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns, name)
		assert.Equal(t, want.IsNotFound, dns.IsNotFound, "%v", err)
		assert.Equal(t, want.IsTemporary, dns.IsTemporary, "%v", err)
		assert.True(t, strings.HasPrefix(dns.Name, strings.TrimSuffix(name, ".")))
	}
}

func TestRoomIsWhatTheQuerySays(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ says, want int }{
		"nothing":     {-1, 512},
		"less":        {100, 512},
		"package net": {1232, 1232},
		"the most":    {65535, 65535},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
			if tt.says >= 0 {
				var other, edns dnsmessage.ResourceHeader
				other = dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
				require.NoError(t, edns.SetEDNS0(tt.says, dnsmessage.RCodeSuccess, false))
				m.Additionals = []dnsmessage.Resource{{Header: other, Body: &dnsmessage.AResource{}}, {Header: edns, Body: &dnsmessage.OPTResource{}}}
			}
			b, err := m.Pack()
			require.NoError(t, err)
			assert.Equal(t, tt.want, dnsanswer.Room(b))
		})
	}
	for _, tt := range nonsense {
		assert.Equal(t, 512, dnsanswer.Room([]byte(tt.query)))
	}
}

func TestReadFramed(t *testing.T) {
	t.Parallel()
	stream := bytes.NewBuffer(append(dnsanswer.Framed([]byte("first")), dnsanswer.Framed([]byte("second"))[:4]...))
	m, err := dnsanswer.ReadFramed(stream)
	require.NoError(t, err)
	assert.Equal(t, "first", string(m))
	_, err = dnsanswer.ReadFramed(stream)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut in the message")
	_, err = dnsanswer.ReadFramed(stream)
	require.ErrorIs(t, err, io.EOF)
}
