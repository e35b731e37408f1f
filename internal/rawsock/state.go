package rawsock

import "example.com/go-sockettest/network"

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
