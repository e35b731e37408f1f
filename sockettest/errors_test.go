package sockettest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/internal/story"
)

// panics is an error all of whose methods panic.
type panics struct{}

func (panics) Error() string   { panic("Error") }
func (panics) Unwrap() []error { panic("Unwrap") }
func (panics) Is(error) bool   { panic("Is") }
func (panics) Timeout() bool   { panic("Timeout") }

// ring wraps the next of a ring, and its text is made of that one's.
type ring struct{ next error }

func (r *ring) Error() string { return "ring: " + r.next.Error() }
func (r *ring) Unwrap() error { return r.next }

// fresh wraps a new one each time.
type fresh struct{ n int }

func (f *fresh) Error() string   { return fmt.Sprint("fresh ", f.n) }
func (f *fresh) Unwrap() []error { return []error{&fresh{f.n + 1}, &fresh{f.n + 1}} }

// incomparable cannot be compared, not even with itself.
type incomparable struct{ list []error }

func (incomparable) Error() string     { return "incomparable" }
func (i incomparable) Unwrap() []error { return i.list }

// idle says Timeout of itself, and wraps something else.
type idle struct{ inner error }

func (idle) Error() string   { return "no recent network activity" }
func (idle) Timeout() bool   { return true }
func (i idle) Unwrap() error { return i.inner }

func circle() error {
	a, b := &ring{}, &ring{}
	a.next, b.next = b, a
	return a
}

func million() error {
	list := make([]error, 1_000_000)
	for i := range list {
		list[i] = io.EOF
	}
	return errors.Join(list...)
}

// Errors of every kind end in a class and in a report, whatever their methods do.
func TestStrangeErrorsEndInAVerdict(t *testing.T) {
	t.Parallel()
	var nilOp *net.OpError
	var nilDNS *net.DNSError
	var nilSys *os.SyscallError
	var nilRing *ring
	deep := error(io.EOF)
	for range maxDepth - 1 {
		deep = fmt.Errorf("%w", deep)
	}
	for _, tt := range []struct {
		name string
		err  error
		want Outcome
		text string // in the report
	}{
		{"nil *net.OpError", nilOp, Other, "a nil pointer, which is not a nil error"},
		{"nil *net.DNSError", nilDNS, Other, "a nil pointer"},
		{"nil *os.SyscallError", nilSys, Other, "a nil pointer"},
		{"nil pointer, wrapped", &ring{nilRing}, Other, "its Error method panics"},
		{"an OpError with a nil pointer", &net.OpError{Op: "read", Err: nilSys}, Other, "its Error method panics"},
		{"an OpError of nothing", &net.OpError{Op: "read"}, Other, "*net.OpError"},
		{"all methods panic", panics{}, Other, "its Error method panics"},
		{"all methods panic, joined", errors.Join(panics{}, io.EOF), Closed, "its Error method panics"},
		{"a ring", circle(), Other, "it wraps itself"},
		{"a ring in a join", errors.Join(io.EOF, circle()), Closed, "it wraps itself"},
		{"always new ones", &fresh{}, Other, "fresh 0"},
		{"incomparable", incomparable{[]error{incomparable{}, io.EOF}}, Closed, "incomparable"},
		{"a million", nil, Closed, "... and more"},
		{"deep", deep, Closed, "EOF"},
		{"nil branches", incomparable{[]error{nil, io.EOF, nil}}, Closed, "incomparable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			switch tt.name {
			case "a million":
				manytests.Long(t, "it is a huge error")
				tt.err = million()
			case "always new ones":
				manytests.Long(t, "it is a huge error")
			}
			assert.Equal(t, tt.want, Classify(tt.err)[0].Outcome)
			tb := faketb.Run(t, func(tb *faketb.TB) {
				ep := Start(tb, fixtures.Echo{})
				op := func() error {
					c, err := net.Dial("tcp", ep.Addr())
					if err == nil {
						_ = c.Close()
					}
					return tt.err
				}
				Expect(tb, ep, Unreachable.Before(10*time.Second), op)
				Expect(tb, ep, ErrorIs(tt.err).Before(10*time.Second).In("bind"), op)
				Expect(tb, ep, ErrorIs(syscall.EPERM).Before(10*time.Second), op)
			})
			assert.Contains(t, tb.Text(), ", want unreachable")
			assert.Contains(t, tb.Text(), tt.text)
			assert.Less(t, len(tb.Text()), 200_000)
		})
	}
}

// A timeout is what says so of itself, not what passes on the word of an error that it wraps.
// A passing error is a timeout if one that it wraps is.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }
func (p passing) Timeout() bool {
	var inner interface{ Timeout() bool }
	return errors.As(p.error, &inner) && inner.Timeout()
}

func TestTimeoutOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want Class
	}{
		{"wraps a closed socket", idle{net.ErrClosed}, Class{TimedOut, "call", "deadline"}},
		{"wraps an end", fmt.Errorf("quic: %w", idle{io.EOF}), Class{TimedOut, "call", "deadline"}},
		{"wraps a read that failed", idle{op("read", io.EOF)}, Class{TimedOut, "read", "deadline"}},
		{"in a read that failed", op("read", idle{net.ErrClosed}), Class{TimedOut, "read", "deadline"}},
		{"wraps nothing", idle{}, Class{TimedOut, "call", "deadline"}},
		{"passes on a full backlog", op("dial", sys("connect", syscall.EAGAIN)), Class{Exhausted, "connect", ""}},
		{"passes on a full backlog, through what is no timeout", passing{fmt.Errorf("db: %w", syscall.EAGAIN)}, Classify(syscall.EAGAIN)[0]},
		{"passes on the kernel's", op("read", sys("read", syscall.ETIMEDOUT)), Class{TimedOut, "read", "kernel"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, []Class{tt.want}, Classify(tt.err))
		})
	}
}

func TestMatchesLikeErrorsIs(t *testing.T) {
	t.Parallel()
	target := errors.New("target")
	for _, err := range []error{nil, target, io.EOF, fmt.Errorf("a: %w", target), errors.Join(io.EOF, target), op("read", target),
		claiming{target}, claiming{io.EOF}, incomparable{[]error{target}}, idle{target}} {
		assert.Equal(t, errors.Is(err, target), matches(err, target), "%v", err)
	}
	assert.False(t, matches(circle(), target))
	assert.False(t, matches(incomparable{}, incomparable{}))
	assert.True(t, strings.HasSuffix(story.Printable(strings.Repeat("x", keepText+1), keepText), "(4097 bytes in all)"))
}

// Of an error that joins others a report says what they do not say themselves, each taken out once.
func TestReportOfJoinedErrors(t *testing.T) {
	t.Parallel()
	short, long := errors.New("reset"), errors.New("reset by peer")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.Join(short, long), "*errors.joinError  (2 errors)"},
		{errors.Join(long, short, io.EOF), "*errors.joinError  (3 errors)"},
		{fmt.Errorf("both: %w, %w", short, long), "*fmt.wrapErrors  both: reset, reset by peer"},
		{errors.Join(short), "*errors.joinError  reset"},
	} {
		assert.Equal(t, tt.want, chain(tt.err)[0])
	}
}

// Errors are looked into so deep and no deeper, whatever they wrap.
func TestErrorsAreLookedIntoSoDeep(t *testing.T) {
	t.Parallel()
	wrapped := func(n int) error {
		err := error(syscall.ECONNRESET)
		for range n {
			err = fmt.Errorf("again: %w", err)
		}
		return err
	}
	assert.Equal(t, ResetByPeer, Classify(wrapped(maxDepth - 1))[0].Outcome)
	assert.Equal(t, Other, Classify(wrapped(maxDepth + 1))[0].Outcome)
}
