// Package calltimeout wraps net connections with a timeout for every call.
//
// The timeout of a [Dialer] bounds the connect and then each Read and Write, that of a [Listener]
// bounds each Accept, and [SetDefaultTimeout] sets the timeout of all sockets that are made
// afterwards. Other languages call this settimeout and setdefaulttimeout. In package net a deadline
// is a moment, not a duration: it must be set again before each call, and code that forgets it once
// waits forever.
package calltimeout
