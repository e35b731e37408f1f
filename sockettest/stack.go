package sockettest

import (
	"bytes"
	"runtime"
	"strings"
)

// stack returns where the operation's goroutine is: one "function  file:line" per frame, innermost first, without the
// runtime's frames and our own.
func (r *run) stack() []string {
	header := r.id.Load()
	if header == nil {
		return nil
	}
	id, _, _ := bytes.Cut(*header, []byte(" ["))
	for buf := make([]byte, 1<<16); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return framesOf(goroutine(string(buf[:n]), string(id)+" ["))
		}
	}
}

// goroutine finds one goroutine's part in the dump of all.
func goroutine(dump, prefix string) string {
	for g := range strings.SplitSeq(dump, "\n\n") {
		if strings.HasPrefix(g, prefix) {
			return g
		}
	}
	return ""
}

// framesOf reads a goroutine's part of a dump: a header, then two lines for each frame.
func framesOf(g string) []string {
	lines := strings.Split(g, "\n")
	var frames []string
	for i := 1; i+1 < len(lines); i += 2 {
		f := lines[i]
		if strings.HasPrefix(f, "created by") || strings.Contains(f, "sockettest.(*run).call(") {
			break
		}
		if cut := strings.LastIndexByte(f, '('); cut > 0 {
			f = f[:cut]
		}
		if strings.HasPrefix(f, "runtime.") || strings.HasPrefix(f, "internal/") {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " ")
		frames = append(frames, f+"  "+at[strings.LastIndexByte(at, '/')+1:])
	}
	return frames
}

// phaseOfStack tells from its innermost frames what a blocked operation waits for.
func phaseOfStack(frames []string) string {
	for _, f := range frames {
		for _, p := range []struct{ in, phase string }{
			{"net.(*netFD).connect", "connect"}, {"net.(*sysDialer)", "connect"}, {"net.(*Dialer)", "connect"},
			{"net.(*Resolver)", "resolve"}, {"tls.(*Conn).handshake", "handshake"},
			{"net.(*netFD).Read", "read"}, {"net.(*netFD).Write", "write"}, {"net.(*netFD).accept", "accept"},
		} {
			if strings.HasPrefix(f, p.in) || strings.HasPrefix(f, "crypto/"+p.in) {
				return p.phase
			}
		}
	}
	return unknownPhase
}
