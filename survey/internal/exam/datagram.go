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
	Peer    udp.Fixture // a server that behaves, which stands in for it in a disarmed run; nil leaves it to the fixture
	Knob    string      // which setting of the client bounds it, for the table in README.md
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

// A standIn is a fixture, and what stands in for it.
type standIn struct{ For, Instead udp.Fixture }

// Plan is that of For.
func (f standIn) Plan() (udp.Plan, error) {
	p, err := f.For.Plan()
	if f.Instead != nil {
		p.Behaves, p.Instead = false, behaving{f.Instead}
	}
	return p, err
}

// A behaving fixture, such as a Reply, is one that is said to behave.
type behaving struct{ udp.Fixture }

// Plan is that of the fixture.
func (f behaving) Plan() (udp.Plan, error) {
	p, err := f.Fixture.Plan()
	p.Behaves, p.Instead = true, nil
	return p, err
}

func (d Datagram) judge(t testing.TB, p Place, options ...sockettest.Option) {
	t.Helper()
	sockettest.NoLeaks(t)
	ep := sockettest.Start(t, standIn{d.Fixture, d.Peer}, options...)
	sockettest.Expect(t, ep, d.Want.in(p), d.Op(t, ep, p))
	assert.Len(t, ep.Packets(), d.Asked)
}
