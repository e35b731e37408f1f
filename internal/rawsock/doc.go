// Package rawsock makes every system call of the project. It implements [network.Stack] and
// [network.Port] on the kernel's loopback, and reads what the kernel knows of a socket.
//
// Files without a suffix hold what all systems share; files with one (_linux, _unix, _windows)
// hold the system calls. Read stack.go first, then state.go. On Linux go on with port_linux.go,
// accept_linux.go, drop_linux.go and handshake_linux.go, and for unix sockets unix_linux.go. On
// other systems a port is portable.go, which holder.go serves and platform_*.go describes;
// other.go lists what they lack. conn.go is a connection, and info_linux.go and diag_linux.go
// what the kernel tells about it.
//
// The package imports only network and internal packages: it knows no fixture and no test.
package rawsock
