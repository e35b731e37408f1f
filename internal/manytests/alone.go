package manytests

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const child = "MANYTESTS_ALONE"

// Alone runs the test again in a process of its own, beside this process's tests, and reports
// whether this is that process. It is for tests of what belongs to a whole process, which could not
// be parallel otherwise:
//
//	if !manytests.Alone(t) {
//		return
//	}
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(child) == t.Name() {
		return true
	}
	t.Parallel()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if f := flag.Lookup("update"); f != nil {
		args = append(args, "-update="+f.Value.String())
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), child+"="+t.Name())
	b, err := cmd.CombinedOutput()
	switch out := string(b); {
	case err != nil || !strings.Contains(out, "--- PASS: "+t.Name()) && !strings.Contains(out, "--- SKIP: "+t.Name()):
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	case strings.Contains(out, "--- SKIP: "+t.Name()):
		t.Skip(out)
	}
	return false
}
