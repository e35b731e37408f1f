package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/rawsock"
)

// streams are the fixtures of package fixtures.
var streams = []Row{
	{Fixture: fixtures.Refused{}, Judge: on(Refuses)},
	{Fixture: fixtures.BoundOnly{}, Judge: on(answersAsPlatform)},
	{Fixture: fixtures.BlackHole{}, Judge: on(AnswersNoSYN)},
	{Fixture: fixtures.NoSocket{}, Judge: on(IsAbsent), On: []string{"unix"}},
	{Fixture: fixtures.SlowHandshake{Delay: delay}, Judge: on(ConnectsAfter(delay)), Bad: map[string]any{
		"SlowHandshake.Delay is -1s; want 0 (default 500ms) or more": fixtures.SlowHandshake{Delay: -time.Second},
		"SlowHandshake.Then is BlackHole{}; want a fixture that":     fixtures.SlowHandshake{Then: fixtures.BlackHole{}},
	}},
	{Fixture: fixtures.FullBacklog{}, Judge: on(Admits(1)), Bad: map[string]any{
		"FullBacklog.Room is -1; want 0 (default 1) or more": fixtures.FullBacklog{Room: -1},
	}},
	{Fixture: fixtures.FullBacklog{Room: 2}, Special: "room for two", Judge: on(Admits(2))},
	{Fixture: fixtures.NeverAccept{}, Judge: on(SaysNothing)},
	{Fixture: fixtures.SlowAccept{Delay: delay}, Judge: on(AnswersAfter(delay)), Bad: map[string]any{
		"SlowAccept.Delay is -1s; want 0 (default 1s) or more":   fixtures.SlowAccept{Delay: -time.Second},
		"SlowAccept.Then is Refused{}; want a fixture that":      fixtures.SlowAccept{Then: fixtures.Refused{}},
		"SlowAccept.Then: SlowAccept{Delay: -1ns}: SlowAccept.D": fixtures.SlowAccept{Then: fixtures.SlowAccept{Delay: -1}},
	}},
	{Fixture: fixtures.Silent{}, Judge: on(SaysNothing)},
	{Fixture: fixtures.Silent{Unread: true}, Special: "unread", Judge: on(SaysNothing)},
	{Fixture: fixtures.NeverRead{}, Judge: on(BlocksWrites)},
	{Fixture: fixtures.SmallWindow{Then: fixtures.Silent{Unread: true}}, Judge: on(BlocksWrites), Bad: map[string]any{
		"SmallWindow.Then is Refused{}; want a fixture that accepts": fixtures.SmallWindow{Then: fixtures.Refused{}},
		"SmallWindow.Then: Forward{}: Forward.To is empty":           fixtures.SmallWindow{Then: fixtures.Forward{}},
	}},
	{Fixture: fixtures.Discard{}, Judge: on(closesAfterUs)},
	{Fixture: fixtures.Echo{}, Judge: on(Echoes)},
	{Fixture: fixtures.Drip{Data: "hello", Every: delay / 4}, Judge: on(drips), Bad: map[string]any{
		"Drip.Every is -1s; want 0 (default 10ms) or more":      fixtures.Drip{Every: -time.Second},
		"Drip.For is -1s; want 0 (Every says it) or more":       fixtures.Drip{For: -time.Second},
		"Drip.For is 1s and Drip.Every is 2s; want one of them": fixtures.Drip{For: time.Second, Every: 2 * time.Second},
	}},
	{Fixture: fixtures.Truncate{AfterWritten: 3}, Judge: on(Answers("hel")), Bad: map[string]any{
		"Truncate.AfterWritten is -1; want 0 (default 1) or more":                      fixtures.Truncate{AfterWritten: -1},
		"Truncate.Then is Refused{}; want a fixture that":                              fixtures.Truncate{Then: fixtures.Refused{}},
		`Truncate.Then: Forward{To: "db"}: Forward.To is "db"; want host:port, or the`: fixtures.Truncate{Then: fixtures.Forward{To: "db"}},
	}},
	{Fixture: fixtures.HalfClose{Data: "hello"}, Judge: on(Answers("hello"))},
	{Fixture: fixtures.HalfClose{Data: "hello", AfterFIN: true}, Special: "after FIN", Judge: on(RepliesToFIN("hello"))},
	{Fixture: fixtures.Close{AfterRead: 5}, Judge: on(Answers("")), Bad: map[string]any{
		"Close.AfterWritten is -1; want 0 (no limit) or more": fixtures.Close{AfterWritten: -1},
	}},
	{Fixture: fixtures.Reset{AfterRead: 5}, Judge: on(Resets), First: true, Bad: map[string]any{
		"Reset.AfterRead is -1; want 0 (default 1 B, unless another field says when) or more":       fixtures.Reset{AfterRead: -1},
		"Reset.OnAccept is true, with AfterRead 1 and AfterWritten 0; want one or the other":        fixtures.Reset{OnAccept: true, AfterRead: 1},
		"Reset.Then is NeverAccept{}; want a fixture that accepts at once and serves, such as Echo": fixtures.Reset{Then: fixtures.NeverAccept{}},
	}},
	{Fixture: fixtures.Ruled{Rules: []fixtures.Rule{{AfterWritten: 3, Do: fixtures.SendFIN()}}}, Judge: on(Answers("hel")), Bad: map[string]any{
		"Ruled.Rules is empty; want a rule, such as":                     fixtures.Ruled{},
		"Ruled.Rules[1]: Rule.AfterRead is -1; want 0 (not set) or more": fixtures.Ruled{Rules: []fixtures.Rule{{}, {AfterRead: -1}}},
		"Ruled.Then is Refused{}; want a fixture that accepts at once":   fixtures.Ruled{Then: fixtures.Refused{}},
	}},
	{Fixture: fixtures.Sequence{fixtures.Reset{}, fixtures.Echo{}}, Judge: on(EchoesInTheEnd), First: true, Bad: map[string]any{
		"Sequence is empty; want at least one fixture":                              fixtures.Sequence{},
		"Sequence{Echo{}, BlackHole{}}: Sequence[1] is BlackHole{}; want a fixture": fixtures.Sequence{fixtures.Echo{}, fixtures.BlackHole{}},
		"Sequence[0] is NeverRead{}; want a fixture that accepts at once":           fixtures.Sequence{fixtures.NeverRead{}, fixtures.Echo{}},
		"Sequence[0]: Forward{}: Forward.To is empty":                               fixtures.Sequence{fixtures.Forward{}},
	}},
	{Fixture: fixtures.Scripted{Steps: script.Script{script.Match("hello"), script.Send("hello"), script.Discard()}}, Armed: true, Judge: on(Echoes),
		Bad: map[string]any{
			"step 1 of 1, Wait(-1s): d is -1s; want 0 or more":                 fixtures.Scripted{Steps: script.Script{script.Wait(-time.Second)}},
			"step 2 of 2, Send(\"x\"): nothing can come after Stall(), step 1": fixtures.Scripted{Steps: script.Script{script.Stall(), script.Send("x")}},
		}},
	{Fixture: fixtures.StandIn{Then: fixtures.Close{}, Instead: fixtures.Echo{}}, Judge: on(Answers(""))},
	{Fixture: fixtures.Forward{To: "echo.test:7", Dial: DialEcho}, Judge: on(Echoes), Bad: map[string]any{
		"Forward.To is empty; want the address of a server":                fixtures.Forward{},
		`Forward.To is "db"; want host:port, or the path of a unix socket`: fixtures.Forward{To: "db"},
		"Forward.Delay is -1s; want 0":                                     fixtures.Forward{To: "db:1", Delay: -time.Second},
	}},
	{Fixture: fixtures.Dual{IPv6: fixtures.BlackHole{}}, Judge: on(fallsBack), On: []string{"tcp"}, Bad: map[string]any{
		"Dual.IPv4: SlowAccept{Delay: -1ns}: SlowAccept.Delay is -1ns": fixtures.Dual{IPv4: fixtures.SlowAccept{Delay: -1}},
		"Dual.IPv6: Drip{Every: -1ns}: Drip.Every is -1ns":             fixtures.Dual{IPv6: fixtures.Drip{Every: -1}},
	}},
}

// Faults are what can be done to a fixture while it runs; their row is not a type's.
var Faults = []Row{
	{Fixture: fixtures.Echo{}, Special: "partitioned and healed", Judge: on(healsWithoutLoss), By: rawsock.PartitionMechanism, On: tcp},
	{Fixture: fixtures.BlackHole{}, Special: "counting attempts", Judge: on(countsAttempts), By: "the clients' ports", On: tcp},
}

// dialFor dials for so long, and reports whether that ended in a timeout or how else.
func dialFor(ctx context.Context, ep *fixtures.Endpoint, d time.Duration) (hung bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c, err := ep.DialContext(ctx, "", "")
	if err == nil {
		bounded(ctx, c, ep.Stack()).abort()
		return false, nil
	}
	ne, ok := errors.AsType[net.Error](err)
	_, errno := errors.AsType[syscall.Errno](err) // ETIMEDOUT and EAGAIN say Timeout, too
	return ok && ne.Timeout() && !errno, err
}

// Refuses: each connect is refused at once.
func Refuses(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	begin := time.Now()
	for range 5 {
		c, err := ep.DialContext(ctx, "", "")
		if err == nil {
			bounded(ctx, c, ep.Stack()).abort()
		}
		if faultOf(err) != rawsock.Refused {
			return "", fmt.Errorf("a connect should have been refused, and returned %w", orNil(err))
		}
	}
	return fmt.Sprintf("after %v", (time.Since(begin) / 5).Round(10*time.Microsecond)), nil
}

// IsAbsent: there is no file to connect to.
func IsAbsent(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	c, err := ep.DialContext(ctx, "", "")
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("a connect was to find no file, and returned %w", orNil(err))
	}
	return "", nil
}

// AnswersNoSYN: a connect hangs, and its SYN is counted.
func AnswersNoSYN(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	at := dropped(ep)
	seen, over := context.WithCancel(ctx)
	over()                 // what was dropped is counted at once
	for ctx.Err() == nil { // on a busy machine a dial can be over before its SYN has left
		if hung, err := dialFor(ctx, ep, moment); !hung {
			return "", fmt.Errorf("a connect was to hang, and returned %w", orNil(err))
		}
		switch err := ep.Await(seen, fixtures.SYN, at+1); {
		case errors.Is(err, errors.ErrUnsupported):
			return "dropped SYNs are not counted", nil
		case err == nil:
			return "", nil
		}
	}
	return "", fmt.Errorf("no SYN was counted: %w", context.Cause(ctx))
}

// countsAttempts: each connect that hangs is an attempt, and no SYN that is sent again is.
func countsAttempts(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	const dials = 3
	if _, err := ep.Attempts(); err != nil {
		return "", err
	}
	for n := 0; n < dials; {
		if hung, err := dialFor(ctx, ep, moment); !hung {
			return "", fmt.Errorf("a connect was to hang, and returned %w", orNil(err))
		}
		switch all, err := ep.Attempts(); {
		case err != nil || ctx.Err() != nil:
			return "", errors.Join(err, context.Cause(ctx))
		case len(all) > n+1:
			return "", fmt.Errorf("%d attempts after %d dials", len(all), n+1)
		default:
			n = len(all) // on a busy machine a dial can be over before its SYN has left
		}
	}
	return fmt.Sprintf("%d attempts", dials), nil
}

// dropped is how many SYNs the endpoint has told of.
func dropped(ep *fixtures.Endpoint) (n int) {
	for _, e := range ep.Events() {
		if e.Kind == fixtures.SYN {
			n = e.Count
		}
	}
	return n
}

// answersAsPlatform holds whatever happens, but that a connect succeeds.
func answersAsPlatform(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	hung, err := dialFor(ctx, ep, 3*time.Second) // on Windows, being refused takes 2 s
	switch {
	case err == nil:
		return "", errors.New("a connect succeeded, and nobody listens")
	case hung:
		return "SYNs are dropped", nil
	case faultOf(err) == rawsock.Refused:
		return "refused", nil
	}
	return "", err
}

// ConnectsAfter: the connect takes that long, and what follows is an Echo.
func ConnectsAfter(d time.Duration) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		begin := time.Now()
		c, err := connect(ctx, ep)
		if err != nil {
			return "", err
		}
		defer c.abort()
		note, err := took("a connect", begin, d)
		if err != nil {
			return "", err
		}
		return note, errors.Join(c.say("hello"), c.expect("hello"))
	}
}

// Admits: at most n connects succeed, then one hangs; on a unix socket it fails at once.
func Admits(room int) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		limit, unix := moment, ep.NetAddr().Network() == "unix"
		for admitted := 0; ctx.Err() == nil; {
			before := dropped(ep)
			dialCtx, cancel := ctx, func() {}
			if !unix {
				dialCtx, cancel = context.WithTimeout(ctx, limit)
			}
			c, err := ep.DialContext(dialCtx, "", "")
			cancel()
			switch ne, _ := errors.AsType[net.Error](err); {
			case err == nil:
				defer bounded(ctx, c, ep.Stack()).abort()
				if admitted++; admitted > room {
					return "", fmt.Errorf("%d connects succeeded, want %d", admitted, room)
				}
			case unix && faultOf(err) == rawsock.Exhausted:
				return "the next fails at once", nil
			case unix || ne == nil || !ne.Timeout():
				return "", fmt.Errorf("a connect was to find the queue full, and returned %w", err)
			case dropped(ep) > before || !counts(ep): // else the machine was slow
				return "", nil
			}
		}
		return "", context.Cause(ctx)
	}
}

// counts reports whether dropped SYNs are counted here.
func counts(ep *fixtures.Endpoint) bool {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	return !errors.Is(ep.Await(over, fixtures.SYN, 1), errors.ErrUnsupported)
}
