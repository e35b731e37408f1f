package reference

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// delayed returns how long all threads of the process together have waited for a processor; 0 where
// the system does not tell: Linux does (proc(5), schedstat).
func delayed() (all time.Duration) {
	const tasks = "/proc/self/task/"
	dir, err := os.Open(tasks)
	if err != nil {
		return 0
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(-1)
	for _, id := range threads {
		stat, _ := os.ReadFile(tasks + id + "/schedstat") // of a thread that has ended there is none
		if fields := bytes.Fields(stat); len(fields) > 1 {
			ns, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			all += time.Duration(ns)
		}
	}
	return all
}
