package manytests

import "testing"

// KernelTimer leaves a test out with -short: it waits for timers of the kernel that nobody can
// shorten, such as the one second before a SYN is sent again.
func KernelTimer(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: it waits for timers of the kernel")
	}
}
