// Package rawsock makes every system call of the project. It implements [network.Stack] and
// [network.Port] on the kernel's loopback, and reads what the kernel knows of a socket.
//
// Files without a suffix hold the idea, files with one (_linux, _unix, _windows, _other) the calls.
// It imports only package network: it knows no fixture and no test.
package rawsock
