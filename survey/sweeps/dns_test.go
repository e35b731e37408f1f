package sweeps

import (
	"context"
	"net"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/sweep"
)

var dnsClient = subject{
	name: "dns", module: "github.com/miekg/dns",
	does: "two queries over one TCP connection",
	cfg:  sweep.Config{Server: serving(serveDNS), Limit: 16 * time.Second},
	op: func(ctx context.Context, c *sweep.Case) error {
		lookup := func(ctx context.Context) error {
			dialCtx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			conn, err := c.DialContext(dialCtx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			co := &dns.Conn{Conn: conn}
			defer c.Close(co.Close)
			client := &dns.Client{Net: "tcp", Timeout: timeout}
			for _, name := range []string{"one.example.", "two.example."} {
				q := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
				q.Id = uint16(name[0])
				r, _, err := client.ExchangeWithConnContext(ctx, q, co)
				if err != nil {
					return err
				}
				if assert.Len(c, r.Answer, 1) {
					assert.Equal(c, []string{name}, r.Answer[0].(*dns.TXT).Txt)
				}
			}
			return nil
		}
		err := lookup(ctx)
		c.Recovers(lookup)
		return err
	},
}

func serveDNS(conn net.Conn) error {
	co := &dns.Conn{Conn: conn}
	for {
		q, err := co.ReadMsg()
		if err != nil {
			return err
		}
		r := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		r.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{name}}}
		if err := co.WriteMsg(r); err != nil {
			return err
		}
	}
}
