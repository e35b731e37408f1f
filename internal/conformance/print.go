package conformance

import (
	"fmt"
	"strings"
)

// calls are the steps as Go; %s is the end, %d is N.
var calls = [ops]string{
	Connect:       `%s, err := stack.Connect(ctx, "tcp", port.Addr().String(), network.ConnectOptions{})`,
	Accept:        "conn, err := port.Accept()",
	Read:          "%s.Read(make([]byte, %d))",
	Write:         "%s.Write(make([]byte, %d))",
	CloseRead:     "%s.CloseRead()",
	CloseWrite:    "%s.CloseWrite()",
	Close:         "%s.Close()",
	Reset:         "%s.Reset()",
	Fill:          "%s.Write(make([]byte, 8<<20))",
	Linger:        "%s.SetLinger(%d)",
	Peer:          "%s.Peer()",
	ReadDeadline:  "%s.SetReadDeadline(time.Unix(%d, 0))",
	WriteDeadline: "%s.SetWriteDeadline(time.Unix(%d, 0))",
	Deadline:      "%s.SetDeadline(time.Unix(%d, 0))",
	Cancel:        "cancel()",
	Refuse:        "port.Become(network.State{Answer: network.Refuse})",
	Drop:          "port.Become(network.State{Answer: network.Drop})",
	Listen:        "port.Become(network.State{Answer: network.Listen})",
	ClosePort:     "port.Close()",
	Partition:     "%s.Partition()",
	Heal:          "%s.Heal()",
	Setup:         "// on",
	LongLinger:    "%s.SetLinger(60)",
	ReadFrom:      "%s.ReadFrom(bytes.NewReader(make([]byte, %d)))",
	WriteTo:       "%s.WriteTo(firstPart)",
	Flood:         "%s.Write(make([]byte, 1<<20))",
	ListenThere:   "stack.Listen(ctx, \"tcp\", %s.LocalAddr().String())",
	Look:          "%s.SyscallConn: read a byte",
	CloseFull:     "%s: write 8 MB until a deadline, SetLinger(60), Close",
	Option:        "%s.",
	Drain:         "io.CopyN(io.Discard, %s, 8<<20)",
}

// Go writes the step as the call that it is.
func (s Step) Go() string {
	text, n := calls[s.Op], s.N
	switch s.Op {
	case ReadDeadline, WriteDeadline, Deadline:
		if n++; s.N != 0 {
			text = strings.Replace(text, "time.Unix(%d, 0)", "time.Time{}", 1)
		}
	case Linger:
		n = -s.N
	case Look:
		if s.N > 0 {
			text = strings.Replace(text, "read", "peek at", 1)
		}
	case Option:
		text += options[s.N].text
	case Setup:
		for i, name := range []string{"::1", "with a small window at the port", "with a small window at the client"} {
			if s.N>>i&1 > 0 {
				text += " " + name
			}
		}
	}
	return strings.NewReplacer("%s", endName(s.End), "%d", fmt.Sprint(n)).Replace(text)
}

// endName is c0 for the client's end of connection 0, s0 for the accepted one.
func endName(end int) string { return string("cs"[end%2]) + fmt.Sprint(end/2) }

// Go writes the program as the statements that it is, with what each gave in the traces as
// comments: one line where all agree, else one for each.
func (p Program) Go(traces ...Trace) string {
	var b strings.Builder
	b.WriteString("port, _ := stack.Bind(ctx, \"tcp\", \"\")\nport.Become(network.State{Answer: network.Listen})\n")
	for i, s := range p {
		fmt.Fprintln(&b, s.Go())
		for j, t := range traces {
			if j == 0 || t.at(i) != traces[0].at(i) {
				fmt.Fprintf(&b, "\t// %s: %s\n", t.World, strings.ReplaceAll(t.at(i), "\n", "\n\t//\t"))
			}
		}
	}
	return b.String()
}

// at is what step i gave; a run that was given up has nothing more.
func (t Trace) at(i int) string {
	if i < len(t.Steps) {
		return t.Steps[i]
	}
	return "not executed"
}
