package exam

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// An Attack is a server that a client misbehaves to.
type Attack struct {
	Name   string                              // what the client does
	Client func(target string) hostile.Fixture // the client
	Knob   string                              // which setting of the server bounds it, for the table in README.md
	Want   Want                                // how the server ends the connection, and when

	// Serve starts the server under test, and ends it with t.Cleanup. Its knob is p.Limit; p has no Endpoint.
	Serve func(t testing.TB, ln net.Listener, p Place)

	SimnetOnly string // why it does not run on the kernel; empty means that it does
}

// Defend runs each attack as parallel subtests, on the kernel, and on simnet in a bubble, and checks that README.md tells of
// it.
func Defend(t *testing.T, server Client, attacks []Attack) {
	t.Helper()
	for _, a := range attacks {
		Case{Name: a.Name, Knob: a.Knob, Want: a.Want, SimnetOnly: a.SimnetOnly}.tabled(t, server)
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			if a.SimnetOnly == "" {
				t.Run("kernel", func(t *testing.T) {
					t.Parallel()
					sockettest.NoLeaks(t)
					ln, err := net.Listen("tcp", "127.0.0.1:0")
					require.NoError(t, err)
					a.judge(t, ln, Place{Limit: Case{Want: a.Want}.kernelLimit()})
				})
			}
			t.Run("simnet", func(t *testing.T) {
				t.Parallel()
				sockettest.Bubble(t, func(t *testing.T) {
					sockettest.NoLeaks(t)
					nw := simnet.New(t)
					ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
					require.NoError(t, err)
					a.judge(t, ln, Place{Limit: bubbleLimit, Virtual: true}, sockettest.On(nw))
				})
			})
		})
	}
}

func (a Attack) judge(t testing.TB, ln net.Listener, p Place, options ...sockettest.Option) {
	t.Helper()
	a.Serve(t, ln, p)
	sockettest.ExpectEnd(t, sockettest.Start(t, a.Client(ln.Addr().String()), options...), a.Want.in(p))
}

// Says makes a client that sends data, and then reads what comes. A hostile.Scripted would do, but looks every millisecond
// whether the server has ended the connection, which is often in hours of virtual time.
func Says(data string) func(target string) hostile.Fixture {
	return func(target string) hostile.Fixture { return says{target: target, data: data} }
}

// Leaving is f, for which in a disarmed run a client stands in that connects, and leaves.
func Leaving(f hostile.Fixture) hostile.Fixture { return leaving{f} }

type leaving struct{ hostile.Fixture }

// Plan is that of the fixture.
func (f leaving) Plan() (hostile.Plan, error) {
	p, err := f.Fixture.Plan()
	p.Instead = says{target: p.Target, leaves: true}
	return p, err
}

type says struct {
	target, data string
	leaves       bool // once it has said it
}

// Plan is for hostile.Start.
func (s says) Plan() (hostile.Plan, error) {
	leaves := s
	leaves.leaves = true
	return hostile.Plan{
		Behaves: s.leaves,
		Instead: leaves,
		Target:  s.target,
		Run: func(_ context.Context, c *fixtures.Conn) error {
			if _, err := io.WriteString(c, s.data); err != nil || s.leaves {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		},
		Rule: "who has said what he wants to may say nothing more: the server's next read waits",
	}, nil
}
