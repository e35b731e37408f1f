package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/internal/dnsanswer"
)

// wrongThen is a name server that cannot be, for what has a field Then.
var wrongThen = dnsfault.Late{Delay: -1}

// names are the fixtures of package dnsfault.
var names = []Row{
	{Fixture: dnsfault.Zone{"db.example": {"127.0.0.2", "::1"}}, Judge: resolver(resolves("127.0.0.2")), Bad: map[string]any{
		`Zone has the address "nowhere" for "a"; want an IP literal such as`: dnsfault.Zone{"a": {"127.0.0.1", "nowhere"}},
		`Zone has the address "fe80::1%lo" for "a"; want an IP literal such`: dnsfault.Zone{"a": {"fe80::1%lo"}},
		`Zone has "a.b" twice, with and without its last dot or in`:          dnsfault.Zone{"a.b.": nil, "A.b": nil},
		`Zone has the name ""; want a name such as "db.example"`:             dnsfault.Zone{"": nil},
		`Zone has the name "a..b"; want labels of 1 to 63 bytes`:             dnsfault.Zone{"a..b": nil},
		`xxxxxxxxxxxx"; want labels of 1 to 63 bytes, 254 in all`:            dnsfault.Zone{strings.Repeat("x", 64): nil},
		`xxx.xxx."; want labels of 1 to 63 bytes, 254 in all: `:              dnsfault.Zone{strings.Repeat("xxx.", 64): nil},
		`dnsfault.Zone{"a": {"127.0.0.1", "nowhere"}}: Zone has the add`:     dnsfault.Zone{"a": {"127.0.0.1", "nowhere"}},
	}},
	{Fixture: dnsfault.Silent{}, Judge: resolver(stub.silent)},
	{Fixture: dnsfault.Late{Delay: delay}, Judge: resolver(resolvesLate), Bad: map[string]any{
		"Late.Delay is -1s; want 0 (default 500ms) or more": dnsfault.Late{Delay: -time.Second},
		"Late.Then: dnsfault.Late{Delay: -1ns}: Late.Delay": dnsfault.Late{Then: wrongThen},
		"Late.Then: fixture is nil; want one such as":       dnsfault.Late{Then: (*dnsfault.Late)(nil)},
	}},
	{Fixture: dnsfault.ServFail{}, Judge: resolver(hasCode(dnsmessage.RCodeServerFailure))},
	{Fixture: dnsfault.NXDomain{}, Judge: resolver(hasCode(dnsmessage.RCodeNameError))},
	{Fixture: dnsfault.Truncate{}, Judge: resolver(truncates), Bad: map[string]any{
		"Truncate.Then: dnsfault.Late{Delay: -1ns}: Late.Delay": dnsfault.Truncate{Then: wrongThen},
	}},
	{Fixture: dnsfault.Drop{}, Judge: resolver(dropsTheFirst), Bad: map[string]any{
		"Drop.Times is -1; want 0 (default 1) or more":      dnsfault.Drop{Times: -1},
		"Drop.Then: dnsfault.Late{Delay: -1ns}: Late.Delay": dnsfault.Drop{Then: wrongThen},
	}},
	{Fixture: dnsfault.WrongID{Then: dnsfault.Zone{}}, Judge: resolver(forges), Bad: map[string]any{
		"WrongID.Then: dnsfault.Late{Delay: -1ns}: Late.Delay": dnsfault.WrongID{Then: wrongThen},
	}},
	{Fixture: dnsfault.Garbage{Then: dnsfault.Zone{}}, Judge: resolver(talksNonsense), Bad: map[string]any{
		"Garbage.Then: dnsfault.Late{Delay: -1ns}: Late.Delay": dnsfault.Garbage{Then: wrongThen},
	}},
}

const id = 0x1717

// A stub is a resolver that does one thing at a time.
type stub struct {
	conn
	network string
}

// resolver asks for db.example. by UDP and then by TCP. UDP comes first: what a fixture does to the
// first query it may not do again.
func resolver(judge func(stub) error) Judge {
	return on(func(ctx context.Context, ep *dnsfault.Endpoint) (string, error) {
		for _, network := range []string{"udp", "tcp"} {
			c, err := dialName(ctx, ep, network)
			if err != nil {
				return "", err
			}
			asked := count(ep, dnsfault.Asked)
			err = c.query("db.example.")
			if err == nil {
				err = judge(c)
			}
			_ = c.Close()
			if err == nil { // what comes late would be the first query of the next fixture
				err = ep.Await(ctx, dnsfault.Asked, asked+1)
			}
			if err != nil {
				return "", fmt.Errorf("by %s: %w", network, err)
			}
		}
		return "", nil
	})
}

func dialName(ctx context.Context, ep *dnsfault.Endpoint, network string) (stub, error) {
	dial := ep.TCP.DialContext
	if network == "udp" {
		dial = ep.UDP.DialContext
	}
	c, err := dial(ctx, network, "")
	if err != nil {
		return stub{}, err
	}
	return stub{bounded(ctx, c, ep.Stack()), network}, nil
}

// query asks for the IPv4 addresses of a name.
func (s stub) query(name string) error {
	b, err := (&dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{
			{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
		},
	}).Pack()
	if err == nil && s.network == "tcp" {
		b = dnsanswer.Framed(b)
	}
	if err == nil {
		_, err = s.Write(b)
	}
	return err
}

// receive returns the next message, as it came.
func (s stub) receive() ([]byte, error) {
	if s.network == "tcp" {
		return dnsanswer.ReadFramed(s)
	}
	b := make([]byte, 1<<16)
	n, err := s.Read(b)
	return b[:n], err
}

// message returns the next message, which must be a response.
func (s stub) message() (m dnsmessage.Message, err error) {
	b, err := s.receive()
	if err == nil {
		err = m.Unpack(b)
	}
	if err == nil && !m.Response {
		err = errors.New("a message is no response")
	}
	return m, err
}

// silent wants nothing to come.
func (s stub) silent() error {
	_ = s.SetReadDeadline(time.Now().Add(s.quiet))
	if b, err := s.receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer should have come, and it was %q, %w", b, orNil(err))
	}
	s.restore()
	return nil
}

// addresses are the answers of a message.
func addresses(m dnsmessage.Message) (list []string) {
	for _, r := range m.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			list = append(list, netip.AddrFrom4(a.A).String())
		}
	}
	return list
}

// answered wants the next message to have the query's ID, this code and these addresses.
func (s stub) answered(code dnsmessage.RCode, want ...string) error {
	m, err := s.message()
	if err == nil && (m.ID != id || m.RCode != code || m.Truncated || !slices.Equal(addresses(m), want)) {
		err = fmt.Errorf("got ID %#x, %v, truncated %t, %q; want ID %#x, %v, %q", m.ID, m.RCode, m.Truncated, addresses(m), id, code, want)
	}
	return err
}

func resolves(want string) func(stub) error {
	return func(s stub) error { return s.answered(dnsmessage.RCodeSuccess, want) }
}

func hasCode(code dnsmessage.RCode) func(stub) error {
	return func(s stub) error { return s.answered(code) }
}

// resolvesLate asks once more: both answers come, and this one is late.
func resolvesLate(s stub) error {
	begin := time.Now()
	if err := s.query("db.example."); err != nil {
		return err
	}
	for range 2 {
		if err := resolves("127.0.0.1")(s); err != nil {
			return err
		}
	}
	_, err := took("an answer", begin, delay)
	return err
}

// truncates answers by UDP, and all is there by TCP.
func truncates(s stub) error {
	if s.network == "tcp" {
		return resolves("127.0.0.1")(s)
	}
	m, err := s.message()
	if err == nil && (!m.Truncated || len(m.Answers) > 0) {
		err = fmt.Errorf("got truncated %t and %d answers; want it truncated, with none", m.Truncated, len(m.Answers))
	}
	return err
}

// dropsTheFirst answers the same question when it is asked again.
func dropsTheFirst(s stub) error {
	if s.network == "tcp" {
		return resolves("127.0.0.1")(s)
	}
	if err := s.query("DB.example."); err != nil {
		return err
	}
	m, err := s.message()
	if err == nil && m.Questions[0].Name.String() != "DB.example." {
		err = errors.New("the first query was answered")
	}
	return err
}

// forges sends a wrong answer ahead of the right one, which is that of an empty Zone.
func forges(s stub) error {
	m, err := s.message()
	if err == nil && (m.ID == id || !slices.Equal(addresses(m), []string{dnsfault.Forged})) {
		err = fmt.Errorf("got ID %#x and %q; want another ID than %#x, and %s", m.ID, addresses(m), id, dnsfault.Forged)
	}
	if err != nil {
		return err
	}
	return s.answered(dnsmessage.RCodeNameError)
}

// talksNonsense sends what is no message ahead of the right one, which is that of an empty Zone.
func talksNonsense(s stub) error {
	b, err := s.receive()
	if err != nil {
		return err
	}
	if new(dnsmessage.Message).Unpack(b) == nil {
		return fmt.Errorf("got a message, %q; want what is none", b)
	}
	return s.answered(dnsmessage.RCodeNameError)
}
