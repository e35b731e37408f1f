// Package sockpair has socket pairs of the kernel, for a simulated network that has to lend a
// descriptor. Its calls are the system's own.
package sockpair
