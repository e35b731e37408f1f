package main

// suites are chosen by these patterns, before it was known what passes.
var suites = []suite{
	{pkg: "net/textproto", run: "."},
	{pkg: "net/smtp", run: "."},
	{pkg: "net/rpc", run: "."},
	{pkg: "net/rpc/jsonrpc", run: "."},
	{pkg: "net/http/httptest", run: "."},
	{pkg: "crypto/tls", run: "."},
	{pkg: "net/http", run: ".", expected: map[string]string{
		"TestLinuxSendfile": noFile,
	}},
	{pkg: "net", run: "^Test(TCP|UDP|Dial|Listen|Deadline|.*Timeout)", loopback: true, expected: map[string]string{
		"TestTCPListenerSpecificMethods":     noFile,
		"TestUDPConnSpecificMethods":         noFile,
		"TestTCPConnKeepAliveConfig":         noDescriptor,
		"TestTCPConnKeepAliveConfigDialer":   noDescriptor,
		"TestTCPConnKeepAliveConfigListener": noDescriptor,
		"TestDialContextCancelRace":          ownHook,
		"TestDNSTimeout":                     ownHook,
	}},
}

// Why tests fail.
const (
	noFile       = "File, or a connection that is handed to a child process"
	noDescriptor = "reads options from the descriptor inside the netFD"
	ownHook      = "waits for a hook of package net that is below ours"
)
