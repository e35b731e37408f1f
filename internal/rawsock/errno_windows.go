package rawsock

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// An errno has three kinds here: Winsock's, which calls really return; the Win32 errors that an
// overlapped call may return instead; and the ones that Go invented so that portable code compiles
// (syscall.APPLICATION_ERROR and above). Meanings are from Microsoft's "Windows Sockets Error
// Codes" and "System Error Codes"; none was provoked on Windows.
var errnos = map[syscall.Errno]struct {
	name  string
	fault Fault
}{
	windows.WSAECONNREFUSED:          {"WSAECONNREFUSED", Refused},
	windows.ERROR_CONNECTION_REFUSED: {"ERROR_CONNECTION_REFUSED", Refused},
	syscall.ECONNREFUSED:             {"ECONNREFUSED", Refused},

	windows.WSAECONNRESET:            {"WSAECONNRESET", ResetByPeer},
	windows.WSAECONNABORTED:          {"WSAECONNABORTED", ResetByPeer},
	windows.WSAEDISCON:               {"WSAEDISCON", ResetByPeer},
	windows.ERROR_NETNAME_DELETED:    {"ERROR_NETNAME_DELETED", ResetByPeer}, // seen by Go's AcceptEx, internal/poll
	windows.ERROR_CONNECTION_ABORTED: {"ERROR_CONNECTION_ABORTED", ResetByPeer},
	windows.ERROR_BROKEN_PIPE:        {"ERROR_BROKEN_PIPE", ResetByPeer},
	syscall.ECONNRESET:               {"ECONNRESET", ResetByPeer},
	syscall.ECONNABORTED:             {"ECONNABORTED", ResetByPeer},
	syscall.EPIPE:                    {"EPIPE", ResetByPeer},

	windows.WSAETIMEDOUT:      {"WSAETIMEDOUT", KernelTimeout},
	windows.WSAENETRESET:      {"WSAENETRESET", KernelTimeout},      // keep-alive met no answer
	windows.ERROR_SEM_TIMEOUT: {"ERROR_SEM_TIMEOUT", KernelTimeout}, // go.dev/issue/5940
	syscall.ETIMEDOUT:         {"ETIMEDOUT", KernelTimeout},

	windows.WSAEHOSTUNREACH:           {"WSAEHOSTUNREACH", Unreachable},
	windows.WSAENETUNREACH:            {"WSAENETUNREACH", Unreachable},
	windows.WSAEHOSTDOWN:              {"WSAEHOSTDOWN", Unreachable},
	windows.WSAENETDOWN:               {"WSAENETDOWN", Unreachable},
	windows.ERROR_HOST_UNREACHABLE:    {"ERROR_HOST_UNREACHABLE", Unreachable},
	windows.ERROR_NETWORK_UNREACHABLE: {"ERROR_NETWORK_UNREACHABLE", Unreachable},
	windows.ERROR_HOST_DOWN:           {"ERROR_HOST_DOWN", Unreachable},
	syscall.EHOSTUNREACH:              {"EHOSTUNREACH", Unreachable},
	syscall.ENETUNREACH:               {"ENETUNREACH", Unreachable},
	syscall.EHOSTDOWN:                 {"EHOSTDOWN", Unreachable},
	syscall.ENETDOWN:                  {"ENETDOWN", Unreachable},

	windows.WSAEMFILE:                 {"WSAEMFILE", Exhausted},
	windows.WSAENOBUFS:                {"WSAENOBUFS", Exhausted},
	windows.WSAEADDRINUSE:             {"WSAEADDRINUSE", Exhausted},
	windows.WSAEADDRNOTAVAIL:          {"WSAEADDRNOTAVAIL", Exhausted},
	windows.WSAEWOULDBLOCK:            {"WSAEWOULDBLOCK", Exhausted},
	windows.WSAEPROCLIM:               {"WSAEPROCLIM", Exhausted},
	windows.ERROR_TOO_MANY_OPEN_FILES: {"ERROR_TOO_MANY_OPEN_FILES", Exhausted},
	windows.ERROR_NOT_ENOUGH_MEMORY:   {"ERROR_NOT_ENOUGH_MEMORY", Exhausted},
	windows.ERROR_NO_SYSTEM_RESOURCES: {"ERROR_NO_SYSTEM_RESOURCES", Exhausted},
	syscall.EMFILE:                    {"EMFILE", Exhausted},
	syscall.ENFILE:                    {"ENFILE", Exhausted},
	syscall.ENOBUFS:                   {"ENOBUFS", Exhausted},
	syscall.ENOMEM:                    {"ENOMEM", Exhausted},
	syscall.EADDRINUSE:                {"EADDRINUSE", Exhausted},
	syscall.EADDRNOTAVAIL:             {"EADDRNOTAVAIL", Exhausted},
	syscall.EAGAIN:                    {"EAGAIN", Exhausted},

	windows.WSAEINVAL:               {"WSAEINVAL", Invalid},
	windows.WSAEACCES:               {"WSAEACCES", Invalid},
	windows.WSAEFAULT:               {"WSAEFAULT", Invalid},
	windows.WSAEBADF:                {"WSAEBADF", Invalid},
	windows.WSAENOTSOCK:             {"WSAENOTSOCK", Invalid},
	windows.WSAEDESTADDRREQ:         {"WSAEDESTADDRREQ", Invalid},
	windows.WSAEMSGSIZE:             {"WSAEMSGSIZE", Invalid},
	windows.WSAEPROTOTYPE:           {"WSAEPROTOTYPE", Invalid},
	windows.WSAENOPROTOOPT:          {"WSAENOPROTOOPT", Invalid},
	windows.WSAEPROTONOSUPPORT:      {"WSAEPROTONOSUPPORT", Invalid},
	windows.WSAESOCKTNOSUPPORT:      {"WSAESOCKTNOSUPPORT", Invalid},
	windows.WSAEOPNOTSUPP:           {"WSAEOPNOTSUPP", Invalid},
	windows.WSAEPFNOSUPPORT:         {"WSAEPFNOSUPPORT", Invalid},
	windows.WSAEAFNOSUPPORT:         {"WSAEAFNOSUPPORT", Invalid},
	windows.WSAENAMETOOLONG:         {"WSAENAMETOOLONG", Invalid},
	windows.ERROR_FILE_NOT_FOUND:    {"ERROR_FILE_NOT_FOUND", Invalid}, // is syscall.ENOENT, too
	windows.ERROR_PATH_NOT_FOUND:    {"ERROR_PATH_NOT_FOUND", Invalid},
	windows.ERROR_ACCESS_DENIED:     {"ERROR_ACCESS_DENIED", Invalid},
	windows.ERROR_INVALID_PARAMETER: {"ERROR_INVALID_PARAMETER", Invalid},
	syscall.EINVAL:                  {"EINVAL", Invalid},
	syscall.EACCES:                  {"EACCES", Invalid},
	syscall.EPERM:                   {"EPERM", Invalid},
	syscall.EAFNOSUPPORT:            {"EAFNOSUPPORT", Invalid},
	syscall.EPROTOTYPE:              {"EPROTOTYPE", Invalid},
	syscall.EOPNOTSUPP:              {"EOPNOTSUPP", Invalid},
	syscall.ENOTSOCK:                {"ENOTSOCK", Invalid},
	syscall.EDESTADDRREQ:            {"EDESTADDRREQ", Invalid},
	syscall.EMSGSIZE:                {"EMSGSIZE", Invalid},

	windows.WSAEINTR:          {"WSAEINTR", UnknownFault},
	windows.WSAEINPROGRESS:    {"WSAEINPROGRESS", UnknownFault},
	windows.WSAEALREADY:       {"WSAEALREADY", UnknownFault},
	windows.WSAEISCONN:        {"WSAEISCONN", UnknownFault},
	windows.WSAENOTCONN:       {"WSAENOTCONN", UnknownFault},
	windows.WSAESHUTDOWN:      {"WSAESHUTDOWN", UnknownFault},
	windows.WSASYSNOTREADY:    {"WSASYSNOTREADY", UnknownFault},
	windows.WSANOTINITIALISED: {"WSANOTINITIALISED", UnknownFault},
}

// FaultOf returns what an errno means.
func FaultOf(e syscall.Errno) Fault {
	if e == 0 {
		return NoFault
	}
	if known, ok := errnos[e]; ok {
		return known.fault
	}
	return UnknownFault
}

// ErrnoName returns the errno's name, such as "WSAECONNREFUSED", and "" if it is not one that
// FaultOf knows.
func ErrnoName(e syscall.Errno) string { return errnos[e].name }

// addressInUse counts WSAEACCES: bind's answer when the other one holds the port exclusively
// (Microsoft, "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE"), or when Windows itself has reserved
// it.
func addressInUse(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}

func noDescriptors(err error) bool { return errors.Is(err, windows.WSAEMFILE) }

// lacksOption reports whether err is of a call that this Winsock does not have, as Wine's.
func lacksOption(err error) bool {
	return errors.Is(err, windows.WSAENOPROTOOPT) || errors.Is(err, windows.WSAEOPNOTSUPP)
}

func noSuchAddress(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}

// connectCall is how package net names the call in its errors; see [ConnectError].
const connectCall = "connectex"

var connectErrnos = map[Fault]syscall.Errno{
	Refused: windows.WSAECONNREFUSED, Unreachable: windows.WSAENETUNREACH, KernelTimeout: windows.WSAETIMEDOUT,
}
