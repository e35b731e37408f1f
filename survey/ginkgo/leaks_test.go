// Package ginkgo shows that sockettest works in specs of Ginkgo, where each node runs on a goroutine of its own, and each
// call of GinkgoTB returns another TB.
package ginkgo

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/sockettest"
)

// leak names the environment variable that makes the specs below run, and what they leak.
const leak = "SURVEY_GINKGO_LEAK"

var (
	kept net.Conn
	quit = make(chan struct{})
)

func wait() { <-quit }

var _ = ginkgo.Describe("a client", func() {
	var ep *fixtures.Endpoint
	ginkgo.BeforeEach(func() {
		if os.Getenv(leak) != "order" {
			sockettest.NoLeaks(ginkgo.GinkgoTB())
		}
		ep = sockettest.Start(ginkgo.GinkgoTB(), fixtures.Echo{})
		if os.Getenv(leak) == "order" {
			sockettest.NoLeaks(ginkgo.GinkgoTB())
		}
	})
	ginkgo.It("dials", func() {
		sockettest.Expect(ginkgo.GinkgoTB(), ep, sockettest.Accepted.Before(10*time.Second), func() error {
			c, err := net.Dial("tcp", ep.Addr())
			if err != nil {
				return err
			}
			switch os.Getenv(leak) {
			case "connection":
				kept = c
				return ep.Await(ginkgo.GinkgoTB().Context(), fixtures.ConnAccepted, 1)
			case "goroutine":
				go wait()
			}
			return c.Close()
		})
	})
})

// TestSpecs is what TestNoLeaks runs.
func TestSpecs(t *testing.T) {
	if os.Getenv(leak) == "" {
		t.Skip("TestNoLeaks runs it, in a process of its own")
	}
	ginkgo.RunSpecs(t, "specs")
}

func TestNoLeaks(t *testing.T) {
	t.Parallel()
	for what, says := range map[string]string{
		"nothing": "", "connection": "leak: 1 connection left behind", "goroutine": "leak: 1 goroutine left behind",
		"order": "want NoLeaks called first",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSpecs$", "-test.v")
			cmd.Env = append(os.Environ(), leak+"="+what)
			out, err := cmd.CombinedOutput()
			if says == "" {
				assert.NoError(t, err, "%s", out)
				return
			}
			require.Error(t, err)
			assert.Contains(t, string(out), says)
		})
	}
}
