package sockettest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// A code and a statusError are as those of an RPC library, whose errors wrap nothing.
type code int

func (c code) String() string {
	return [...]string{"OK", "Unavailable", "DeadlineExceeded"}[c] // panics for others
}

type statusError struct{ code code }

func (e *statusError) Error() string { return "rpc error: code = " + e.code.String() }

func codeOf(err error) code {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.code
	}
	if err != nil {
		return 1
	}
	return 0
}

// An exit is found by a method As, as of an error that is not in the chain itself.
type exit struct{}

func (exit) Error() string { return "exit" }

func (exit) As(target any) bool {
	if e, ok := target.(**statusError); ok {
		*e = &statusError{2}
		return true
	}
	return false
}

// Wants of other families of errors, and what the report says was compared.
func TestErrorMatch(t *testing.T) {
	t.Parallel()
	deadline := func(e *statusError) bool { return e.code == 2 }
	late := fmt.Errorf("call: %w", &statusError{2})
	for _, tt := range []struct {
		err  error
		want sockettest.Want
		text string // of the report
	}{
		{late, sockettest.ErrorValue(codeOf, 2), ""},
		{late, sockettest.ErrorAs(deadline), ""},
		{errors.Join(&statusError{1}, late), sockettest.ErrorAs(deadline), ""},
		{exit{}, sockettest.ErrorAs(deadline), ""},
		{nil, sockettest.ErrorValue(codeOf, 0), ""},
		{late, sockettest.ErrorValue(error.Error, "call: rpc error: code = DeadlineExceeded"), ""},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, sockettest.ErrorAs(net.Error.Timeout).In("read"), ""},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, sockettest.ErrorValue(os.IsTimeout, true).In("read").AtOnce(), ""},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, sockettest.ErrorValue(os.IsTimeout, true).In("write"), "read: os.IsTimeout(err) = true, want it in write\n"},
		{&statusError{1}, sockettest.ErrorValue(codeOf, 2), "want sockettest_test.codeOf(err) = DeadlineExceeded\n"},
		{&statusError{1}, sockettest.ErrorValue(codeOf, 2), "\n  compared sockettest_test.codeOf(err) = Unavailable\n"},
		{&statusError{1}, sockettest.ErrorAs(deadline), "want *sockettest_test.statusError for which the function holds\n"},
		{&statusError{1}, sockettest.ErrorAs(deadline), "\n  compared the function does not hold for the *sockettest_test.statusError that says \"rpc error: code = Unavailable\"\n"},
		{os.ErrClosed, sockettest.ErrorAs(deadline), "\n  compared no *sockettest_test.statusError is in the chain\n"},
		{nil, sockettest.ErrorValue(codeOf, 2), "\n  compared sockettest_test.codeOf(err) = OK\n"},
		{os.ErrClosed, sockettest.ErrorValue(func(error) int { panic("no") }, 2), "(err) panics\n"},
		{os.ErrClosed, sockettest.ErrorValue(func(error) code { return 7 }, 2), "(err) = %!v(PANIC="},
		{os.ErrClosed, sockettest.ErrorValue(func(error) any { return []int{} }, any(2)), "(err) = []\n"},
		{late, sockettest.ErrorAs(func(*statusError) bool { panic("no") }), "compared the function does not hold"},
		{late, sockettest.ErrorValue(codeOf, 2).After(time.Second), "too early"},
		{late, sockettest.ErrorValue[int](nil, 2), "bad argument: sockettest.Expect: ErrorValue(nil): want a function such as status.Code"},
		{late, sockettest.ErrorAs[*statusError](nil), "bad argument: sockettest.Expect: ErrorAs(nil): want a function such as"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := sockettest.Start(tb, fixtures.Refused{}, sockettest.On(simnet.New(tb)))
				sockettest.Expect(tb, ep, tt.want, func(ctx context.Context) error {
					_, err := ep.DialContext(ctx, "", "")
					assert.Error(t, err)
					return tt.err
				})
			})
			assert.Equal(t, tt.text != "", tb.Failed(), "%v %v %s", tt.err, tt.want, tb.Text())
			assert.Contains(t, tb.Text(), tt.text)
		})
	}
}

// What has not returned has no error to look at.
func TestErrorMatchOfWhatIsBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tb := faketb.Run(t, func(tb *faketb.TB) {
			ep := sockettest.Start(tb, fixtures.Silent{}, sockettest.On(simnet.New(tb)))
			sockettest.Expect(tb, ep, sockettest.ErrorValue(codeOf, 0).Before(time.Second), reader(ep))
		})
		assert.Contains(t, tb.Text(), "still blocked, want sockettest_test.codeOf(err) = OK")
		assert.NotContains(t, tb.Text(), "compared")
	})
}
