package sockettest_test

import (
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/manytests"
	"example.com/go-sockettest/network"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

func TestEachNetwork(t *testing.T) {
	t.Parallel()
	var names []string
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		names = append(names, t.Name())
		sockettest.NoLeaks(t)
		ep := sockettest.Start(t, fixtures.Echo{}, sockettest.On(nw))
		c, err := nw.DialContext(t.Context(), "tcp", ep.Addr())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, ep.Await(t.Context(), fixtures.ConnAccepted, 1))
		virtual := time.Now().Year() == 2000 // a bubble's clock begins there
		assert.Equal(t, nw != sockettest.Kernel, virtual)
	})
	assert.Equal(t, []string{"TestEachNetwork/kernel", "TestEachNetwork/simnet"}, names)
}

// TestStackListen: a server under test gets its listener and its datagrams from the same network.
func TestStackListen(t *testing.T) {
	t.Parallel()
	sockettest.EachNetwork(t, func(t *testing.T, nw network.Stack) {
		ln, err := nw.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c, err := nw.DialContext(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		s, err := ln.Accept()
		require.NoError(t, err)
		pc, err := nw.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		require.NoError(t, err)
		for _, c := range []interface{ Close() error }{c, s, ln, pc} {
			require.NoError(t, c.Close())
		}
	})
	for _, addr := range []string{"10.0.0.1:0", "localhost:0"} {
		_, err := sockettest.Kernel.Listen(t.Context(), "tcp", addr)
		require.ErrorContains(t, err, addr, "only loopback literals are bound")
		_, err = sockettest.Kernel.ListenPacket(t.Context(), "udp", addr)
		require.ErrorContains(t, err, addr)
	}
}

// twoBubblesEnv tells the child process that it is one.
const twoBubblesEnv = "SOCKETTEST_TWO_BUBBLES"

// One network in two bubbles at once would go by two clocks: the runtime ends the process and says
// so, in silence it hangs never. Before that, the process tells of a function that is nil.
func TestOneNetworkInTwoBubbles(t *testing.T) {
	wait := manytests.Start(t, twoBubblesEnv+"=1", "-test.run=^Test(NoFunction|TwoBubbles)Child$", "-test.timeout=60s")
	t.Parallel()
	out, err := wait()
	require.Error(t, err)
	assert.Contains(t, out, "eachnetwork_test.go:")
	assert.Contains(t, out, "bad argument: sockettest.EachNetwork: f is nil; want the function to run on each network")
	assert.Contains(t, out, "synctest")
	assert.NotContains(t, out, "test timed out")
}

func TestNoFunctionChild(t *testing.T) {
	if os.Getenv(twoBubblesEnv) == "" {
		t.Skip("it is for TestOneNetworkInTwoBubbles")
	}
	sockettest.EachNetwork(t, nil)
}

func TestTwoBubblesChild(t *testing.T) {
	if os.Getenv(twoBubblesEnv) == "" {
		t.Skip("it is for TestOneNetworkInTwoBubbles")
	}
	nw := simnet.New(t)
	listening, dialled := make(chan struct{}), make(chan struct{})
	address := "127.0.0.1:80"
	var wg sync.WaitGroup
	wg.Go(func() {
		synctest.Test(t, func(t *testing.T) {
			ln, err := nw.Listen(t.Context(), "tcp", address)
			require.NoError(t, err)
			go func() { _, _ = ln.Accept() }()
			synctest.Wait()
			close(listening)
			<-dialled
			_ = ln.Close()
		})
	})
	wg.Go(func() {
		<-listening
		synctest.Test(t, func(*testing.T) { _, _ = nw.Dial("tcp", address) })
		close(dialled)
	})
	wg.Wait()
}
