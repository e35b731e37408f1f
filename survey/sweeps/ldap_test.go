package sweeps

import (
	"context"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var ldapClient = subject{
	name: "ldap", module: "github.com/go-ldap/ldap/v3",
	does: "bind, a search with two entries, a modification",
	cfg:  sweep.Config{Server: serving(serveLDAP), Limit: 26 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		use := func(ctx context.Context) error {
			dialCtx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			nc, err := c.DialContext(dialCtx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			conn := ldap.NewConn(nc, false)
			conn.SetTimeout(timeout)
			conn.Start()
			defer c.Close(conn.Close)
			if err := conn.Bind("cn=user", "secret"); err != nil {
				return err
			}
			r, err := conn.Search(ldap.NewSearchRequest("dc=x", ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(cn=*)", []string{"cn"}, nil))
			if err != nil {
				return err
			}
			var names []string
			for _, e := range r.Entries {
				names = append(names, e.DN)
			}
			assert.Equal(c, []string{"cn=one", "cn=two"}, names)
			m := ldap.NewModifyRequest("cn=one", nil)
			m.Replace("cn", []string{"three"})
			return conn.Modify(m)
		}
		err := use(ctx)
		c.Recovers(use)
		return err
	},
}

func serveLDAP(conn net.Conn) error {
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return err
		}
		envelope := func(op *ber.Packet) *ber.Packet {
			e := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
			e.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, ""))
			e.AppendChild(op)
			return e
		}
		done := func(tag ber.Tag) *ber.Packet {
			r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
			r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, 0, ""))
			r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
			r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
			return envelope(r)
		}
		var answers []*ber.Packet
		switch p.Children[1].Tag {
		case ldap.ApplicationBindRequest:
			answers = append(answers, done(ldap.ApplicationBindResponse))
		case ldap.ApplicationSearchRequest:
			for _, name := range []string{"cn=one", "cn=two"} {
				e := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
				e.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
				e.AppendChild(ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, ""))
				answers = append(answers, envelope(e))
			}
			answers = append(answers, done(ldap.ApplicationSearchResultDone))
		case ldap.ApplicationModifyRequest:
			answers = append(answers, done(ldap.ApplicationModifyResponse))
		case ldap.ApplicationUnbindRequest:
			return nil
		}
		for _, a := range answers {
			if _, err := conn.Write(a.Bytes()); err != nil {
				return err
			}
		}
	}
}
