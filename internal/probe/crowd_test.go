package probe_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/probe"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
)

// crowded is a network whose listeners have room for one connection, as where somaxconn is small.
type crowded struct{ network.Stack }

func (c crowded) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	p, err := c.Bind(ctx, network, address)
	if err == nil {
		err = p.Become(oneAtATime)
	}
	return narrow{p}, err
}

var oneAtATime = network.State{Answer: network.Listen, Backlog: 1}

type narrow struct{ network.Port }

func (n narrow) Accept() (net.Conn, error) { return n.Port.Accept() }

func TestClientsOfACrowdedServer(t *testing.T) {
	t.Parallel()
	for _, r := range probe.Of("hostile") {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e, err := r.Start(t.Context(), fixtures.Place{Stack: crowded{simnet.New(t)}})
				require.NoError(t, err)
				_, err = r.Judge(t.Context(), e)
				require.NoError(t, err)
				assert.NoError(t, e.Close())
			})
		})
	}
}
