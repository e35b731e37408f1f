package sweep

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The header of a TLS record (RFC 8446, section 5.1): its type, a version and a length.
const recordHeader = 5

// recordTypes are what records carry.
var recordTypes = map[byte]string{20: "change of cipher", 21: "alert", 22: "handshake", 23: "data"}

// findRecords lists where TLS records begin, the first one with a write: there may be plain text
// before it (STARTTLS). It lists none if what follows is no TLS to its end.
func (p *part) findRecords() {
	const handshake = 22
	for _, w := range p.Writes[:min(len(p.Writes), mostWrites)] {
		var starts []int
		at := w
		for rest := p.Bytes[at:]; len(rest) >= recordHeader && recordTypes[rest[0]] != "" && rest[1] == 3; rest = p.Bytes[at:] {
			starts = append(starts, at)
			if at += recordHeader + int(binary.BigEndian.Uint16(rest[3:])); at > len(p.Bytes) {
				break
			}
		}
		if at == len(p.Bytes) && at > w && p.Bytes[w] == handshake {
			p.Records = starts
			return
		}
	}
}

// spot names the first byte of each record, one in its middle, and the last; other bytes have no
// name.
func (p part) spot(at int) string {
	n, found := slices.BinarySearch(p.Records, at)
	if !found {
		n--
	}
	if n < 0 || n >= mostWrites {
		return ""
	}
	start, end := p.Records[n], len(p.Bytes)
	if n+1 < len(p.Records) {
		end = p.Records[n+1]
	}
	switch at {
	case start:
		return fmt.Sprintf("record_%d/first", n+1)
	case (start + end) / 2:
		return fmt.Sprintf("record_%d/middle", n+1)
	case end - 1:
		return fmt.Sprintf("record_%d/last", n+1)
	}
	return ""
}

// named gives a point the name that it has in its record, and returns it by its byte too if all
// names are wanted.
func (p part) named(at point, all bool) []point {
	other := at
	if other.spot = p.spot(at.at); other.spot == "" {
		return []point{at}
	}
	if all {
		return []point{at, other}
	}
	return []point{other}
}

// shown says which bytes these are. In TLS nobody can read them.
func (p part) shown(first, last int) string {
	if len(p.Records) == 0 || first < p.Records[0] {
		return fmt.Sprintf("%.48q", p.Bytes[first:min(last+1, len(p.Bytes))])
	}
	n := 0
	for n < len(p.Records) && p.Records[n] <= first {
		n++
	}
	text := fmt.Sprintf("TLS record %d, %s", n, recordTypes[p.Bytes[p.Records[n-1]]])
	if n < len(p.Records) && p.Records[n] <= last {
		return "from " + text + ", on"
	}
	return text
}
