package rawsock

import (
	"fmt"

	"example.com/go-sockettest/network"
)

// check returns an error for a state that no platform can give.
func check(s network.State) error {
	switch {
	case s.Answer < network.Own || s.Answer > network.Absent:
		return fmt.Errorf("State.Answer is %d; want Own, Refuse, Listen, Drop or Absent", s.Answer)
	case s.Backlog < 0:
		return fmt.Errorf("State.Backlog is %d; want 0 (all that the platform gives) or more", s.Backlog)
	case s.Backlog > 0 && s.Answer != network.Listen:
		return fmt.Errorf("State.Backlog is %d, and State.Answer is %q; want network.Listen, or 0", s.Backlog, s.Answer)
	case s.SmallWindow && s.Answer != network.Listen:
		return fmt.Errorf("State.SmallWindow is true, and State.Answer is %q; want network.Listen, or false", s.Answer)
	}
	return nil
}

// checkTCP is check for TCP.
func checkTCP(s network.State) error {
	switch {
	case s.Answer < network.Own || s.Answer > network.Absent:
		return fmt.Errorf("State.Answer is %d; want Own, Refuse, Listen or Drop", s.Answer)
	case s.Answer == network.Absent:
		return fmt.Errorf("State.Answer is %q; want it on a unix socket only, since a TCP address is always there", s.Answer)
	}
	return check(s)
}

// held says in words how the accept queue is held.
func held(s network.State) string {
	switch {
	case s.Hold == network.Forever:
		return ", accepting nothing"
	case s.Hold > 0:
		return ", accepting late"
	}
	return ""
}
