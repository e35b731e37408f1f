package sockettest

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/go-sockettest/internal/faketb"
	"example.com/go-sockettest/internal/manytests"
)

// TestMain runs this package under Main, and in a child of TestMain's own tests, a package that
// leaks.
func TestMain(m *testing.M) {
	manytests.AtOnce()
	manytests.Uses(2000, 64)
	options := []goleak.Option{goleak.IgnoreTopFunction("example.com/go-sockettest/sockettest.waitForever")}
	if mode := os.Getenv("SOCKETTEST_CHILD"); mode == "beyond" || mode == "loopback" {
		options = append(options, OnlyLoopbackAlways())
	}
	Main(m, options...)
}

func TestMainFindsWhatAPackageLeaves(t *testing.T) {
	manytests.Long(t, "each of its processes waits for 2 s")
	modes := []struct {
		mode string
		says []string // nothing if all is well
	}{
		{"clean", nil},
		{"loopback", nil},
		{"goroutine", []string{"leak: goroutines outlive the package's tests", "sockettest.waitFor"}},
		{"connection", []string{"leak: 1 socket left open", "socket     tcp4 127.0.0.1:", ", CLOSE-WAIT", "find the test with"}},
		{"listener", []string{"leak: 1 socket left open", "socket     tcp4 127.0.0.1:", ", LISTEN"}},
		{"udp", []string{"leak: 1 socket left open", "socket     udp4 127.0.0.1:"}},
		{"unix", []string{"leak: 1 socket left open", "socket     unix "}},
		{"beyond", []string{"sockettest.OnlyLoopback: lookup db.example: it is beyond loopback\n  caller   ", "sockettest.TestMainsChild  main_test.go:"}},
	}
	ends := map[string]func() (string, error){}
	for _, tt := range modes {
		ends[tt.mode] = manytests.Start(t, "SOCKETTEST_CHILD="+tt.mode, "-test.run=^TestMainsChild$", "-test.v")
	}
	t.Parallel()
	for _, tt := range modes {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(strings.Join(tt.says, " "), "socket left") {
				needSockets(t)
			}
			out, err := ends[tt.mode]()
			assert.Contains(t, out, "PASS: TestMainsChild")
			if tt.says == nil {
				assert.NoError(t, err, "%s", out)
				return
			}
			require.Error(t, err, "%s", out)
			for _, s := range tt.says {
				assert.Contains(t, out, s)
			}
			assert.NotContains(t, out, "own.example")
			if tt.mode == "goroutine" && tellsForever() {
				assert.Contains(t, out, "chan receive (leaked)")
			}
		})
	}
}

// TestMainsChild is what TestMainFindsWhatAPackageLeaves runs.
func TestMainsChild(t *testing.T) {
	switch mode := os.Getenv("SOCKETTEST_CHILD"); mode {
	case "", "clean", "loopback":
	case "goroutine":
		go waitFor(make(chan struct{}))
	case "beyond":
		t.Parallel()
		_, err := net.LookupHost("db.example.")
		assert.ErrorContains(t, err, "lookup db.example: it is beyond loopback, and sockettest.OnlyLoopback is in force")
		tb := faketb.Run(t, func(tb *faketb.TB) {
			OnlyLoopback(tb)
			_, _ = net.LookupHost("own.example.")
		})
		assert.Contains(t, tb.Text(), "lookup own.example: ", "it is the test's own, and not the package's")
	default:
		leakedSocket = openSocket(t, mode)
	}
}
