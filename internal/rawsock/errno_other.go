//go:build !unix && !windows

package rawsock

// FaultOf returns UnknownFault: the errnos of js, wasip1 and Plan 9 are not a kernel's answer to
// a connect. It takes an error because Plan 9 has no syscall.Errno.
func FaultOf(error) Fault { return UnknownFault }

// ErrnoName returns "".
func ErrnoName(error) string { return "" }

func addressInUse(error) bool  { return false }
func noDescriptors(error) bool { return false }
func noSuchAddress(error) bool { return false }
func lacksOption(error) bool   { return false }

// connectErrnos is empty, and nothing is called; see [ConnectError].
const connectCall = "connect"

var connectErrnos map[Fault]error
