package rawsock

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// backlog asks for all that the kernel gives (net.core.somaxconn caps it).
const backlog = 4096

// admits returns what to ask of listen(2) so that the accept queue takes n connections: on Linux it takes one more than
// it is told. The kernel would cut a number that is too large without a word.
func admits(n int) (int, error) {
	if n == 0 {
		return backlog, nil
	}
	if most := somaxconn() + 1; n > most {
		return 0, fmt.Errorf("State.Backlog is %d; want at most %d, which is this machine's net.core.somaxconn and one more", n, most)
	}
	return n - 1, nil
}

// somaxconn is what the kernel's own listen(2) would cut a backlog to; 4096 by default, since Linux 5.4.
func somaxconn() int {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return n
		}
	}
	return backlog
}
