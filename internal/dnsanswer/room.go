package dnsanswer

import "golang.org/x/net/dns/dnsmessage"

// leastRoom is what a datagram may carry if nothing is said (RFC 1035, section 4.2.1).
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
