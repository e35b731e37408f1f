package sockettest_test

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// twoBubblesEnv tells the child process that it is one.
const twoBubblesEnv = "SOCKETTEST_TWO_BUBBLES"

// One network in two bubbles at once would go by two clocks: the runtime ends the process and says
// so, in silence it hangs never.
func TestOneNetworkInTwoBubbles(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoBubblesChild$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), twoBubblesEnv+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "synctest")
	assert.NotContains(t, string(out), "test timed out")
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
