package overall_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/simnet"
)

// whereEnv says where the child process makes its network, which prepares the resolver.
const whereEnv = "SOCKETTEST_WARM"

// A lookup in a bubble leaves the resolvers usable, whether they were prepared outside or in it. A
// process has one first use.
func TestResolverOutlivesABubble(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"outside", "inside"} {
		for _, netdns := range []string{"netdns=go", "netdns=cgo"} {
			t.Run(where+" "+netdns, func(t *testing.T) {
				t.Parallel()
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLookUpChild$", "-test.count=1")
				cmd.Env = append(os.Environ(), whereEnv+"="+where, "GODEBUG="+netdns)
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s", out)
				assert.Contains(t, string(out), "PASS")
			})
		}
	}
}

func TestLookUpChild(t *testing.T) {
	where := os.Getenv(whereEnv)
	if where == "" {
		t.Skip("it is for TestResolverOutlivesABubble")
	}
	lookUp := func(ctx context.Context) {
		for _, r := range []*net.Resolver{net.DefaultResolver, {PreferGo: true}} {
			_, err := r.LookupHost(ctx, "localhost")
			assert.NoError(t, err)
		}
	}
	if where == "outside" {
		simnet.New(t)
	}
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			if where == "inside" {
				simnet.New(t)
			}
			lookUp(t.Context())
		})
		lookUp(t.Context())
	}
}
