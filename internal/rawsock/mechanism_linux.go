package rawsock

import (
	"fmt"

	"example.com/go-sockettest/network"
)

// Mechanism names what makes the port answer as it does now, for reports about a platform.
func (p *port) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	switch {
	case s.Answer == network.Drop:
		return p.dropMechanism()
	case s.Answer != network.Listen:
		return "bound, not listening"
	case s.Handshake > 0 && p.shake != nil && p.shake.diag != nil:
		return p.dropMechanism() + ", then simultaneous open"
	case s.Handshake > 0:
		return p.dropMechanism() + ", until a SYN is sent again"
	}
	text := "listening"
	if s.Backlog > 0 {
		text = fmt.Sprintf("listen(fd, %d)", s.Backlog-1)
	}
	if s.SmallWindow {
		text += ", " + WindowMechanism
	}
	return text + held(s)
}

func (p *port) dropMechanism() string {
	switch {
	case !p.minTTL:
		return "full accept queue"
	case p.v6:
		return "IPV6_MINHOPCOUNT"
	}
	return "IP_MINTTL"
}

// Mechanism names what makes the path answer as it does now, for reports about a platform.
func (p *unixPort) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := p.state; {
	case s.Answer == network.Absent:
		return "no file"
	case s.Answer != network.Listen:
		return "a file that no socket listens at"
	case s.Backlog > 0:
		return fmt.Sprintf("listen(fd, %d)%s", s.Backlog-1, held(s))
	default:
		return "listening" + held(s)
	}
}
