package dnsanswer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"example.com/go-sockettest/internal/dnsanswer"
)

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
