package conformance

import (
	"math/rand/v2"
	"slices"
)

// An Op is one call of a [Program].
type Op uint8

// The calls. A program begins with a port that listens and has no connection.
const (
	Connect       Op = iota // a client connects to the port
	Accept                  // the port accepts
	Read                    // of up to N bytes
	Write                   // of N bytes
	CloseRead               //
	CloseWrite              //
	Close                   //
	Reset                   // SetLinger(0) and Close
	Fill                    // writes more than the buffers take
	Linger                  // SetLinger(0) if N is 0, else SetLinger(-1)
	Peer                    // asks what is known of the other end, and how much is unread
	ReadDeadline            // in the past if N is 0, else none
	WriteDeadline           // the same
	Deadline                // the same
	Cancel                  // ends the context of a Connect that waits
	Refuse                  // the port stops listening
	Drop                    // the port answers no SYN
	Listen                  // the port listens again
	ClosePort               //
	Drain                   // reads what the other side's Fill writes: all of it, or up to FIN
	Partition               // what the other side sends vanishes
	Heal                    // and arrives, with its next retransmission
	Setup                   // comes first, if it does: N says where the program runs, IPv6 and the like
	LongLinger              // SetLinger(60): a Close waits until all has arrived
	ReadFrom                // a Write by io.Copy
	WriteTo                 // a Read by io.Copy, to what takes one part and fails
	Flood                   // writes more than fits to an end that was closed
	ListenThere             // a listener at the client's own address
	Look                    // what a pool of connections sees at the descriptor
	CloseFull               // a Fill that its deadline ends, LongLinger and Close
	Option                  // sets keep-alive, or an option of TCP
	ops
)

// What the N of a Setup is made of.
const (
	ipv6        = 1 << iota // the port is on ::1
	smallPort               // what the port accepts has a small receive window
	smallClient             // what connects has one
	setups
)

// A Step is one call. End is the number of the end that it is made on: 2*i is the client's end of
// connection i, 2*i+1 the end that the port accepts. A call on an end that is not there is left
// out.
type Step struct {
	Op  Op
	End int
	N   int
}

// A Program is a sequence of calls, each of which is made when all before it have returned or wait
// for something that only a later call can bring.
type Program []Step

const (
	maxSteps       = 40
	maxConnections = 4
)

// sizes are those of reads and writes. Nothing comes near the size of a buffer; only Fill does.
var sizes = [...]int{0, 1, 2, 3, 5, 8, 21, 55}

// weights say how often each call is chosen; reads and writes are what makes the others visible. A
// change makes other programs of all seeds, and of the fuzz corpus.
var weights = [ops]int{
	Connect: 5, Accept: 6, Read: 16, Write: 14, CloseRead: 3, CloseWrite: 5, Close: 3, Reset: 2,
	Fill: 2, Linger: 2, Peer: 3, Cancel: 1, Drop: 1,
	ReadDeadline: 3, WriteDeadline: 2, Deadline: 1, Refuse: 1, Listen: 2, ClosePort: 1, Drain: 4, Partition: 2, Heal: 2,
	LongLinger: 1, CloseFull: 1, ReadFrom: 3, WriteTo: 3, Flood: 2, ListenThere: 2, Look: 3, Option: 1,
}

// reads and writes: what a Read waits for, and what a Write does.
func (o Op) reads() bool  { return o == Read || o == WriteTo }
func (o Op) writes() bool { return o == Write || o == ReadFrom }

// Decode reads a program from any bytes, three a step, so that a fuzzer can change one step without
// the others. What is left of them, if anything is, makes the Setup.
func Decode(b []byte) Program {
	table := weighted()
	var p Program
	if rest := b[len(b)-len(b)%3:]; len(rest) > 0 && rest[0]%setups > 0 {
		p = append(p, Step{Op: Setup, N: int(rest[0] % setups)})
	}
	p = append(p, Step{Op: Connect})
	connections := 1
	for ; len(b) >= 3 && len(p) < maxSteps; b = b[3:] {
		s := Step{Op: table[int(b[0])%len(table)], End: int(b[1]) % (2 * connections)}
		switch s.Op {
		case Connect:
			if connections == maxConnections {
				continue
			}
			s.End = 2 * connections
			connections++
		case Accept, Cancel, Refuse, Drop, Listen, ClosePort:
			s.End = 0
		case Read, Write, ReadFrom:
			s.N = sizes[int(b[2])%len(sizes)]
		case ReadDeadline, WriteDeadline, Deadline, Linger, Look:
			s.N = int(b[2]) % 2
		case Option:
			s.N = int(b[2]) % len(options)
		case ListenThere, LongLinger, CloseFull:
			s.End &^= 1 // of a client: a port waits for a Close of its own
		}
		p = append(p, s)
	}
	return p
}

// Encode is the reverse of [Decode], for what Decode can give: it begins with a Connect, and an end
// is named once there is its connection.
func (p Program) Encode() []byte {
	table := weighted()
	var b, rest []byte
	if where := p.setup(); where > 0 {
		p, rest = p[1:], []byte{byte(where)}
	}
	for i, s := range p {
		if i > 0 || s.Op != Connect {
			n := s.N
			if s.Op == Read || s.Op.writes() {
				n = slices.Index(sizes[:], s.N)
			}
			b = append(b, byte(slices.Index(table, s.Op)), byte(s.End), byte(n))
		}
	}
	return append(b, rest...)
}

// setup is the N of the Setup, 0 without one.
func (p Program) setup() int {
	if len(p) > 0 && p[0].Op == Setup {
		return p[0].N
	}
	return 0
}

func weighted() (table []Op) {
	for op, n := range weights {
		for range n {
			table = append(table, Op(op))
		}
	}
	return table
}

// Bytes are what [Decode] makes a random program of; the same seed gives the same ones forever.
func Bytes(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	b := make([]byte, 3*(4+r.IntN(maxSteps-4)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if n := r.IntN(2 * setups); n < setups { // else as most networks are
		b = append(b, byte(n))
	}
	return b
}
