package rawsock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/network"
)

// needDiag skips where sock_diag does not answer.
func needDiag(t *testing.T) {
	t.Helper()
	if err := diagAnswers(); err != nil {
		t.Skip(err)
	}
}

func infoOf(t *testing.T, c network.Conn) network.ConnInfo {
	t.Helper()
	info, err := c.Info()
	require.NoError(t, err)
	return info
}

// awaitInfo waits until what is known of both ends passes: acknowledgements may be on their way.
func awaitInfo(t *testing.T, c network.Conn, pass func(own, other network.SocketInfo) bool) network.ConnInfo {
	t.Helper()
	var info network.ConnInfo
	require.Eventually(t, func() bool {
		info = infoOf(t, c)
		return info.Other != nil && pass(info.Own, *info.Other)
	}, 10*time.Second, time.Millisecond, "%v", &info)
	return info
}

func TestInfoShowsBothEnds(t *testing.T) {
	t.Parallel()
	needDiag(t)
	eachFamily(t, func(t *testing.T, p network.Port) {
		client, server := pair(t, p)
		_, err := client.Write(make([]byte, 1000))
		require.NoError(t, err)
		info := awaitInfo(t, server, func(own, other network.SocketInfo) bool { return own.Unread == 1000 && other.Unacked == 0 })
		assert.Equal(t, "ESTABLISHED", info.Own.State)
		assert.Equal(t, "ESTABLISHED", info.Other.State)
		assert.Positive(t, info.Own.ReceiveWindow)
		assert.Positive(t, info.Other.SendWindow)
		assert.Positive(t, info.Own.RTO)
		assert.Zero(t, info.Other.Unread)

		seen := infoOf(t, client) // the same from the other side
		assert.Equal(t, 1000, seen.Other.Unread)

		require.NoError(t, server.Partition())
		_, err = client.Write(make([]byte, 500))
		require.NoError(t, err)
		awaitInfo(t, server, func(own, other network.SocketInfo) bool {
			return own.Unread == 1000 && other.Unacked == 500 && other.Retransmits > 0
		})
		require.NoError(t, server.Heal())
		awaitInfo(t, server, func(own, other network.SocketInfo) bool { return own.Unread == 1500 && other.Unacked == 0 })

		require.NoError(t, client.CloseWrite())
		awaitInfo(t, server, func(own, other network.SocketInfo) bool {
			return own.State == "CLOSE-WAIT" && other.State == "FIN-WAIT-2"
		})
		require.NoError(t, server.Reset())
		gone := infoOf(t, client)
		assert.Equal(t, "CLOSED", gone.Own.State)
		assert.Nil(t, gone.Other)
		assert.Contains(t, gone.Own.String(), "CLOSED, 0 B unread")
	})
}
