package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"
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
	ReadDeadline            // in the past if N is 0, else none
	WriteDeadline           // the same
	Deadline                // the same
	Refuse                  // the port stops listening
	Listen                  // the port listens again
	ClosePort               //
	ops
)

// A Step is one call. End is the number of the end that it is made on: 2*i is the client's end of connection i, 2*i+1 the
// end that the port accepts. A call on an end that is not there is left out.
type Step struct {
	Op  Op
	End int
	N   int
}

// A Program is a sequence of calls, each of which is made when all before it have returned or wait for something that
// only a later call can bring.
type Program []Step

const (
	maxSteps       = 40
	maxConnections = 4
)

// sizes are those of reads and writes. Nothing comes near the size of a buffer: when one is full the kernel decides by
// its own memory.
var sizes = [...]int{0, 1, 2, 3, 5, 8, 21, 55}

// weights say how often each call is chosen; reads and writes are what makes the others visible.
var weights = [ops]int{
	Connect: 5, Accept: 6, Read: 16, Write: 14, CloseRead: 3, CloseWrite: 5, Close: 3, Reset: 2,
	ReadDeadline: 3, WriteDeadline: 2, Deadline: 1, Refuse: 1, Listen: 2, ClosePort: 1,
}

// Decode reads a program from any bytes, three a step, so that a fuzzer can change one step without the others.
func Decode(b []byte) Program {
	table := weighted()
	p := Program{{Op: Connect}}
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
		case Accept, Refuse, Listen, ClosePort:
			s.End = 0
		case Read, Write:
			s.N = sizes[int(b[2])%len(sizes)]
		case ReadDeadline, WriteDeadline, Deadline:
			s.N = int(b[2]) % 2
		}
		p = append(p, s)
	}
	return p
}

func weighted() (table []Op) {
	for op, n := range weights {
		for range n {
			table = append(table, Op(op))
		}
	}
	return table
}

// Bytes are what [Decode] makes a random program of; the same seed gives the same ones for ever.
func Bytes(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	b := make([]byte, 3*(4+r.IntN(maxSteps-4)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Go writes the step as the call that it is.
func (s Step) Go() string {
	e := endName(s.End)
	switch s.Op {
	case Connect:
		return e + ", err := stack.Connect(ctx, \"tcp\", port.Addr().String(), network.ConnectOptions{})"
	case Accept:
		return "conn, err := port.Accept()"
	case Read:
		return fmt.Sprintf("%s.Read(make([]byte, %d))", e, s.N)
	case Write:
		return fmt.Sprintf("%s.Write(make([]byte, %d))", e, s.N)
	case CloseRead:
		return e + ".CloseRead()"
	case CloseWrite:
		return e + ".CloseWrite()"
	case Close:
		return e + ".Close()"
	case Reset:
		return e + ".Reset()"
	case ReadDeadline:
		return e + ".SetReadDeadline(" + deadline(s.N) + ")"
	case WriteDeadline:
		return e + ".SetWriteDeadline(" + deadline(s.N) + ")"
	case Deadline:
		return e + ".SetDeadline(" + deadline(s.N) + ")"
	case Refuse:
		return "port.Become(network.State{Answer: network.Refuse})"
	case Listen:
		return "port.Become(network.State{Answer: network.Listen})"
	case ClosePort:
		return "port.Close()"
	}
	return fmt.Sprintf("op %d", s.Op)
}

func deadline(n int) string {
	if n == 0 {
		return "time.Unix(1, 0)"
	}
	return "time.Time{}"
}

// endName is c0 for the client's end of connection 0, s0 for the accepted one.
func endName(end int) string { return string("cs"[end%2]) + fmt.Sprint(end/2) }

// Go writes the program as the statements that it is, with what each gave in the traces as comments: one line where all
// agree, else one for each.
func (p Program) Go(traces ...Trace) string {
	var b strings.Builder
	b.WriteString("port, _ := stack.Bind(ctx, \"tcp\", \"\")\nport.Become(network.State{Answer: network.Listen})\n")
	for i, s := range p {
		fmt.Fprintln(&b, s.Go())
		for j, t := range traces {
			if i < len(t.Steps) && (j == 0 || t.Steps[i] != traces[0].Steps[i]) {
				fmt.Fprintf(&b, "\t// %s: %s\n", t.World, strings.ReplaceAll(t.Steps[i], "\n", "\n\t//\t"))
			}
		}
	}
	return b.String()
}
