package sockettest

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/internal/faketb"
)

// The error is the kernel's in everything: types, operation, address, errno, text.
func TestListenConfigFailsAsTheKernelDoes(t *testing.T) {
	t.Parallel()
	taken := Start(t, fixtures.Refused{}).Addr()
	for _, tt := range []struct {
		name, network, address string
		errno                  syscall.Errno
	}{
		{"in use", "tcp", taken, syscall.EADDRINUSE},
		{"not ours", "tcp6", "[::2]:0", syscall.EADDRNOTAVAIL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var real net.ListenConfig
			_, want := real.Listen(t.Context(), tt.network, tt.address)
			require.ErrorIs(t, want, tt.errno, "what the kernel says here")
			_, got := ListenConfig(t, tt.errno).Listen(t.Context(), tt.network, tt.address)
			require.Equal(t, want, got)
			assert.EqualError(t, got, want.Error())
		})
	}
	_, err := ListenConfig(t, syscall.EMFILE).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.EqualError(t, err, "listen udp 127.0.0.1:0: socket: too many open files")
}

func TestListenConfigIsFatal(t *testing.T) {
	t.Parallel()
	tb := faketb.Run(t, func(tb *faketb.TB) { ListenConfig(tb, syscall.ECONNREFUSED) })
	assert.True(t, tb.Died())
	assert.Contains(t, tb.Text(), "(ECONNREFUSED); want one that listening ends in, such as syscall.EADDRINUSE")
	_, err := ListenConfig(nil, syscall.EADDRINUSE).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}
