package rawsock

import "example.com/go-sockettest/network"

// Mechanism names what makes the port answer as it does now, for reports about a platform.
func (p *portable) Mechanism() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return "the port was lost"
	}
	return p.now.way.mechanism(p.sys, p.state)
}

func (w way) mechanism(sys platform, s network.State) string {
	switch w {
	case bound:
		return "bound, not listening"
	case connected:
		return "held by an end of a connection"
	case silent:
		return sys.silenceName
	case listening:
		return "listening" + held(s)
	}
	return "unknown"
}

// held adds what is done about the accept queue.
func held(s network.State) string {
	switch {
	case s.Hold == network.Forever:
		return ", accepting nothing"
	case s.Hold > 0:
		return ", accepting late"
	}
	return ""
}
