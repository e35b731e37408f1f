// Package client is the client's side of a socket with a limit on each call, which package net has not: a [Dialer], whose
// timeout bounds the connect and every Read and Write after it, a [Listener], whose timeout bounds every Accept, and
// [SetDefaultTimeout], the limit of all sockets that are made afterwards.
//
// Other languages call it settimeout and setdefaulttimeout. In package net a deadline is a moment, not a duration: it has
// to be set again for each call, and whoever forgets it once waits for ever.
//
// It imports nothing of the project.
package client
