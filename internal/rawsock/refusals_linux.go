package rawsock

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Refusals counts the connects that the kernel has refused with RST, or the datagrams with ICMP, at
// any address of this network namespace, and whatever else it has answered with RST (RFC 4022, RFC
// 4113, proc_net(5)). While the count stays the same nobody was refused. Where the kernel does not
// count, the error wraps [errors.ErrUnsupported].
func Refusals(udp bool) (uint64, error) {
	if !udp {
		return counter("/proc/net/snmp", "Tcp:", "OutRsts")
	}
	n, err := counter("/proc/net/snmp", "Udp:", "NoPorts")
	more, err6 := counter("/proc/net/snmp6", "Udp6NoPorts", "Udp6NoPorts")
	if err != nil || err6 != nil {
		return 0, unsupported("refused datagrams are not counted", unix.ENOENT)
	}
	return n + more, nil
}

// counter finds a number in a table. Each of its lines begins with a word, and where that is the
// name itself the number follows; else there is a line of names above that of the numbers.
func counter(file, word, name string) (uint64, error) {
	table, err := os.ReadFile(file)
	if err != nil {
		return 0, unsupported("refused connects are not counted", err)
	}
	at := 1
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != word {
			continue
		}
		if i := slices.Index(fields[1:], name); i >= 0 {
			at = 1 + i
		} else if at < len(fields) {
			return strconv.ParseUint(fields[at], 10, 64)
		}
	}
	return 0, unsupported("refused connects are not counted", unix.ENOENT)
}
