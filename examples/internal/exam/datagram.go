package exam

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// A Datagram is a client of UDP in one situation.
type Datagram struct {
	Name    string
	Fixture udp.Fixture
	Knob    string // which setting of the client bounds it, for the table in README.md
	Want    Want
	Asked   int // how many datagrams come, which counts the attempts

	// Op prepares the client, as that of a Case does. It dials with ep.DialContext; p has no Endpoint.
	Op func(t testing.TB, ep *udp.Endpoint, p Place) func(context.Context) error
}

// RunUDP is Run for datagrams.
func RunUDP(t *testing.T, client Client, cases []Datagram) {
	t.Helper()
	for _, d := range cases {
		Case{Name: d.Name, Knob: d.Knob, Want: d.Want}.tabled(t, client)
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			t.Run("kernel", func(t *testing.T) {
				t.Parallel()
				d.judge(t, Place{Limit: Case{Want: d.Want}.kernelLimit()})
			})
			t.Run("simnet", func(t *testing.T) {
				t.Parallel()
				sockettest.Bubble(t, func(t *testing.T) {
					d.judge(t, Place{Limit: bubbleLimit, Virtual: true}, sockettest.On(simnet.New(t)))
				})
			})
		})
	}
}

func (d Datagram) judge(t testing.TB, p Place, options ...sockettest.Option) {
	t.Helper()
	sockettest.NoLeaks(t)
	ep := sockettest.StartUDP(t, d.Fixture, options...)
	sockettest.Expect(t, ep, d.Want.in(p), d.Op(t, ep, p))
	assert.Len(t, ep.Packets(), d.Asked)
}
