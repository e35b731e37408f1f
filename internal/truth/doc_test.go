// Package truth_test runs random small clients, each with one known bug or none, against fixtures
// on the kernel and on simnet, and compares the verdicts of package sockettest with what really
// happened. What really happened is told by the client's own record, the packets on loopback and
// the descriptors of the process, never by package sockettest.
package truth_test
