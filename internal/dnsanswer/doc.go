// Package dnsanswer answers queries of DNS for addresses, from a function that knows the names: one
// message at a time, without a socket. [Dial] gives package net's resolver a name server in memory.
//
// It knows neither fixtures nor networks; it imports the standard library and
// golang.org/x/net/dns/dnsmessage.
package dnsanswer
