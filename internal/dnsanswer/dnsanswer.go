// Package dnsanswer answers DNS queries for addresses, from a function that knows the names. It
// handles one message at a time, without a socket. [Dial] gives package net's resolver a name
// server in memory.
//
// It knows neither fixtures nor networks; it imports the standard library and
// golang.org/x/net/dns/dnsmessage.
package dnsanswer

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// A Reply is what is known of a name.
type Reply struct {
	Addrs     []netip.Addr     // the answer has those of the family in the query; none is an answer without records
	Code      dnsmessage.RCode // 0 is success; an answer with any other has no records
	Truncated bool             // TC is set and there are no records: a client that asked by UDP asks again by TCP
}

// NoSuchName is NXDOMAIN: nothing of that name exists.
var NoSuchName = Reply{Code: dnsmessage.RCodeNameError}

// A Lookup says what is known of a name, which comes in lower case and without its last dot.
type Lookup func(name string) Reply

// Answer returns a name server's answer to one query (RFC 1035, section 4.1), and nil if the bytes
// are no query. There are records of types A and AAAA only. A query that makes no sense is answered
// with FORMERR.
func Answer(query []byte, lookup Lookup) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, Authoritative: true,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	q, err := p.Question()
	if err != nil {
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply)
	}
	reply.Questions = []dnsmessage.Question{q}
	known := lookup(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")))
	reply.RCode, reply.Truncated = known.Code, known.Truncated
	if known.Code == dnsmessage.RCodeSuccess && !known.Truncated {
		reply.Answers = records(q, known.Addrs)
	}
	return pack(reply)
}

// records returns the addresses of the type in the query, with a time to live of 0, so that nobody
// keeps them.
func records(q dnsmessage.Question, addrs []netip.Addr) []dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET}
	var list []dnsmessage.Resource
	for _, a := range addrs {
		a = a.Unmap()
		switch {
		case q.Class != dnsmessage.ClassINET:
		case q.Type == dnsmessage.TypeA && a.Is4():
			list = append(list, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			list = append(list, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return list
}

// pack writes a message; nil if it has over 65,535 records.
func pack(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// leastRoom is what a datagram may carry if the query does not say (RFC 1035, section 4.2.1).
const leastRoom = 512

// Room returns how many bytes the answer to a query may have in a datagram: what the query says
// (EDNS; RFC 6891, section 6.2.3), or 512.
func Room(query []byte) int {
	var p dnsmessage.Parser
	if _, err := p.Start(query); err != nil || p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return leastRoom
	}
	for {
		h, err := p.AdditionalHeader()
		switch {
		case err != nil:
			return leastRoom
		case h.Type == dnsmessage.TypeOPT:
			return max(leastRoom, int(h.Class))
		case p.SkipAdditional() != nil:
			return leastRoom
		}
	}
}
