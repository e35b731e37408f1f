package exam_test

import (
	"context"
	"net"
	"testing"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// ask is a client that has one limit for all that it does.
func ask(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.Limit)
		defer cancel()
		c, err := p.DialContext(ctx, "", "")
		if err != nil {
			return err
		}
		defer c.Close()
		end, _ := ctx.Deadline()
		if err := c.SetDeadline(end); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
}

// wait is a client without a limit.
func wait(_ testing.TB, p exam.Place) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := p.DialContext(ctx, "", "")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		return err
	}
}

// twice tries again, after a second.
func twice(t testing.TB, p exam.Place) func(context.Context) error {
	once := ask(t, p)
	return func(ctx context.Context) error {
		if err := once(ctx); err == nil {
			return nil
		}
		<-time.NewTimer(time.Second).C
		return once(ctx)
	}
}

func TestEveryKindOfWantIsMet(t *testing.T) {
	var kept net.Conn // the garbage collector would close it
	forget := func(_ testing.TB, p exam.Place) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			if kept, err = (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr()); err != nil {
				return err
			}
			return p.Await(ctx, fixtures.ConnAccepted, 1) // NoLeaks knows what the fixture has accepted
		}
	}
	t.Cleanup(func() { _ = kept.Close() })
	exam.Run(t, exam.Client{}, []exam.Case{
		{Name: exam.Refused, Fixture: fixtures.Refused{}, Want: exam.AtOnce(sockettest.Rejected).In("connect"), Op: ask},
		{Name: exam.BlackHoled, Fixture: fixtures.BlackHole{}, Want: exam.AtLimit(sockettest.TimedOut), Op: ask},
		{Name: exam.Unanswered, Fixture: fixtures.Silent{}, Want: exam.AtLimit(sockettest.TimedOut).In("read"), Op: ask},
		{Name: exam.SecuredSilent, Fixture: fixtures.Silent{}, Want: exam.AtLimit(sockettest.TimedOut).OnceSecured(), Op: ask},
		{Name: exam.ResetMidway, Fixture: fixtures.Reset{}, Want: exam.AtOnce(sockettest.ResetByPeer), Op: ask},
		{Name: "no knob", Fixture: fixtures.Silent{}, Want: exam.Never(), Op: wait},
		{Name: "two attempts", Fixture: fixtures.Silent{}, Want: exam.AtLimit(sockettest.TimedOut).Times(2).Plus(time.Second), Op: twice},
		{Name: "two attempts, refused", Fixture: fixtures.Refused{}, Want: exam.AtOnce(sockettest.Rejected).Plus(time.Second), Op: twice},
		{Name: "a sentinel", Fixture: fixtures.BlackHole{}, Want: exam.AtLimit(sockettest.ErrorIs(context.DeadlineExceeded)), Op: sentinel},
		{Name: "a leak", Fixture: fixtures.Silent{}, Want: exam.AtOnce(sockettest.Accepted), Op: forget,
			Leak: "1 connection left behind", KernelOnly: "it dials by itself"},
	})
}

// sentinel hides what happened.
func sentinel(t testing.TB, p exam.Place) func(context.Context) error {
	op := ask(t, p)
	return func(ctx context.Context) error {
		if err := op(ctx); err != nil {
			return context.DeadlineExceeded
		}
		return nil
	}
}
