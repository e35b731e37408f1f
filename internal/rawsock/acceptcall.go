package rawsock

import "runtime"

// AcceptCall returns the name of the system call that package net puts into the errors of Accept
// (internal/poll/sock_cloexec.go and its siblings).
func AcceptCall() string {
	switch runtime.GOOS {
	case "windows":
		return "acceptex"
	case "darwin", "ios", "aix", "js", "wasip1":
		return "accept"
	}
	return "accept4"
}
