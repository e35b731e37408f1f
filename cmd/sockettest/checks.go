package main

import (
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/internal/rawsock"
)

// usual: short, and still longer than anything that is not slow.
var usual = pace{quiet: 50 * time.Millisecond, delay: 100 * time.Millisecond}

// tcp is for what unix sockets do not know: RST.
var tcp = []string{"tcp4", "tcp6"}

// checks are all fixtures, in the order of docs/fixtures.md.
var checks = []check{
	{fixture: fixtures.Refused{}, holds: refuses},
	{fixture: fixtures.BoundOnly{}, holds: answersAsPlatform},
	{fixture: fixtures.BlackHole{}, holds: usual.answersNoSYN},
	{fixture: fixtures.NoSocket{}, holds: findsNoFile, on: []string{"unix"}},
	{fixture: fixtures.SlowHandshake{Delay: usual.delay}, holds: usual.connectsLate},
	{fixture: fixtures.FullBacklog{}, holds: usual.admitsOne},
	{fixture: fixtures.NeverAccept{}, holds: usual.saysNothing},
	{fixture: fixtures.SlowAccept{Delay: usual.delay}, holds: usual.answersLate},
	{fixture: fixtures.Silent{}, holds: usual.saysNothing},
	{name: "unread", fixture: fixtures.Silent{Unread: true}, holds: usual.saysNothing},
	{fixture: fixtures.NeverRead{}, holds: usual.blocksWrites},
	{fixture: fixtures.Discard{}, holds: usual.closesAfterUs},
	{fixture: fixtures.Echo{}, holds: echoes},
	{fixture: fixtures.Drip{Data: "hello", For: usual.delay}, holds: usual.answersLate},
	{fixture: fixtures.Truncate{AfterWritten: 3}, holds: answers("hel")},
	{fixture: fixtures.HalfClose{Data: "hello"}, holds: answers("hello")},
	{fixture: fixtures.Close{}, holds: answers("")},
	{fixture: fixtures.Reset{}, holds: resets, on: tcp},
	{fixture: fixtures.Sequence{fixtures.Reset{}, fixtures.Echo{}}, holds: resetsThenEchoes, on: tcp},
	{fixture: fixtures.Scripted{Steps: script.Script{script.Read(5), script.Send("hello")}}, holds: answers("hello")},
	{fixture: fixtures.StandIn{Then: fixtures.Close{}, Instead: fixtures.Echo{}}, holds: answers("")},
	{fixture: fixtures.Forward{To: "echo.test:7", Dial: dialEcho}, holds: echoes},
	{name: "partitioned and healed", fixture: fixtures.Echo{}, holds: usual.healsWithoutLoss, by: rawsock.PartitionMechanism,
		on: tcp},
	{name: "behind a Dual whose IPv6 is a BlackHole", fixture: fixtures.Echo{}, holds: usual.fallsBack, on: []string{"tcp"}},

	{datagrams: udp.Refused{}, exchanges: refusesDatagrams},
	{datagrams: udp.Silent{}, exchanges: usual.datagrams("a", "")},
	{datagrams: udp.Echo{}, exchanges: usual.datagrams("a b", "a b")},
	{datagrams: udp.Late{Delay: usual.delay}, exchanges: usual.answersDatagramLate},
	{datagrams: udp.Drop{}, exchanges: usual.datagrams("a b c", "b c")},
	{datagrams: udp.Duplicate{}, exchanges: usual.datagrams("a b", "a a b")},
	{datagrams: udp.Reorder{}, exchanges: usual.datagrams("a b", "b a")},
	{datagrams: udp.Truncate{AfterWritten: 2}, exchanges: usual.datagrams("hello", "he")},
	{datagrams: udp.Reply(func([]byte) []byte { return []byte("no") }), exchanges: usual.datagrams("a", "no")},

	{attack: connectOnly, suffers: usual.hears(1, "")},
	{attack: slowloris, suffers: usual.hearsSlowly},
	{attack: neverRead, suffers: usual.cannotWrite, by: rawsock.WindowMechanism},
	{attack: abort, suffers: isReset, by: "SO_LINGER 0"},
	{attack: halfClose, suffers: answersAfterFIN},
	{attack: flood, suffers: usual.hears(20, "")},
	{attack: secured, suffers: speaksTLS, by: "crypto/tls"},
	{attack: splitEverywhere, suffers: usual.hears(5, "hello")},
	{attack: scripted, suffers: converses},
	{attack: slowBody, suffers: usual.hearsSlowly},
	{attack: slowHello, suffers: begins("\x16\x03\x01")}, // a TLS record of a handshake
	{attack: stalledTLS, suffers: begins("\x16\x03\x01")},
	{attack: stalledH2, suffers: usual.hears(1, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
	{attack: closedWindow, suffers: begins("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
	{attack: neverPong, suffers: begins("GET / HTTP/1.1\r\n")},
}

func connectOnly(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }

func slowloris(s string) hostile.Fixture {
	return hostile.Slowloris{Target: s, Data: "hello", Every: usual.delay / 4}
}

func neverRead(s string) hostile.Fixture { return hostile.NeverRead{Target: s} }

func slowBody(s string) hostile.Fixture {
	return hostile.SlowBody{Target: s, Head: "h", Body: "ello", Every: usual.delay / 2}
}

func slowHello(s string) hostile.Fixture { return hostile.SlowHello{Target: s} }

func stalledTLS(s string) hostile.Fixture { return hostile.StalledTLS{Target: s} }

func stalledH2(s string) hostile.Fixture { return hostile.StalledH2{Target: s} }

func closedWindow(s string) hostile.Fixture { return hostile.ClosedWindow{Target: s} }

func neverPong(s string) hostile.Fixture { return hostile.NeverPong{Target: s} }

func abort(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hello"} }

func halfClose(s string) hostile.Fixture { return hostile.HalfClose{Target: s, Data: "hello"} }

func flood(s string) hostile.Fixture { return hostile.Flood{Target: s, Count: 20} }

func secured(s string) hostile.Fixture {
	return hostile.OverTLS{Then: hostile.Slowloris{Target: s, Data: "hello"}}
}

func splitEverywhere(s string) hostile.Fixture {
	return hostile.SplitEverywhere{Target: s, Data: "hello"}
}

func scripted(s string) hostile.Fixture {
	return hostile.Scripted{Target: s, Steps: script.Script{script.Match("220 "), script.Send("hello"), script.Discard()}}
}
