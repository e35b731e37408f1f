package rawsock

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
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
		needsCut(t, p)
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

func TestPeerTellsFINFromRST(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		for _, tt := range []struct {
			end  func(c *net.TCPConn)
			want network.PeerState
		}{
			{func(c *net.TCPConn) { _ = c.Close() }, network.PeerFIN},
			{func(c *net.TCPConn) { _ = c.CloseWrite() }, network.PeerFIN},
			{func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, network.PeerRST},
		} {
			client, server := requireServed(t, p)
			_, err := client.Write([]byte("unread"))
			require.NoError(t, err)
			got, err := server.Peer()
			require.NoError(t, err)
			assert.Equal(t, network.PeerOpen, got)
			go tt.end(client.(*net.TCPConn))
			got, err = server.AwaitPeerEnd()
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		}
	})
}

// A connection that is closed in both directions is in one state of the kernel's, however it came
// to that.
func TestPeerTellsWhatCameFirst(t *testing.T) {
	t.Parallel()
	closes := func(c *net.TCPConn) { _ = c.CloseWrite(); _ = c.Close() }
	resets := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		for _, tt := range []struct {
			name string
			act  func(c network.Conn)
			end  func(c *net.TCPConn)
			want network.PeerState
		}{
			{"after our FIN", func(c network.Conn) { _ = c.CloseWrite() }, closes, network.PeerFIN},
			{"after our FIN", func(c network.Conn) { _ = c.CloseWrite() }, resets, network.PeerRST},
			{"with an answer unread", func(c network.Conn) { _, _ = c.Write([]byte("unread")) }, closes, network.PeerFIN},
			{"with an answer unread", func(c network.Conn) { _, _ = c.Write([]byte("unread")) }, resets, network.PeerRST},
		} {
			for read := range 3 {
				client, server := requireServed(t, p)
				_, err := client.Write([]byte("hi"))
				require.NoError(t, err)
				if read > 0 {
					_, err = io.ReadFull(server, make([]byte, read))
					require.NoError(t, err)
				}
				tt.act(server)
				tt.end(client.(*net.TCPConn))
				got, err := server.AwaitPeerEnd()
				require.NoError(t, err)
				assert.Equal(t, tt.want, got, "%s, %d B read", tt.name, read)
				_, _ = io.Copy(io.Discard, server)
				got, err = server.Peer()
				require.NoError(t, err)
				assert.Equal(t, tt.want, got, "%s, all read, and the error too", tt.name)
			}
		}
	})
}

func TestAwaitPeerEndEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	eachPort(t, func(t *testing.T, p *port) {
		require.NoError(t, p.Become(serve))
		_, server := requireServed(t, p)
		require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := server.AwaitPeerEnd()
		require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
	})
}

// A byte was written, whenever it is asked: while FIN comes, and while both ends close. What
// Arrived asks is asked alone as well: that hits the moment more often.
func TestArrivedCountsNoFIN(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rounds int
		yields bool // to who closes, who waits for its turn otherwise
		ask    func(c *conn) (n int64, over bool, err error)
	}{
		"Arrived": {6, false, func(c *conn) (n int64, over bool, err error) { n, err = c.Arrived(); return n, false, err }},
		"heard":   {150, true, func(c *conn) (n int64, over bool, err error) { return heard(c.TCPConn) }},
		"written": {150, true, func(c *conn) (n int64, over bool, err error) { n = writtenTo(c.TCPConn); return n, n <= 0, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			eachPort(t, func(t *testing.T, p *port) {
				require.NoError(t, p.Become(serve))
				for i := range tt.rounds {
					client, server := requireServed(t, p)
					if i%2 == 0 {
						_ = server.CloseWrite()
					}
					go func() {
						_ = client.Close()
						_, _ = io.Copy(io.Discard, server)
						_ = server.Close()
					}()
					for {
						n, over, err := tt.ask(server.(*conn))
						if over || err != nil {
							break
						}
						require.EqualValues(t, 1, n)
						if tt.yields {
							runtime.Gosched()
						}
					}
				}
			})
		})
	}
}

// What nobody accepted is gone when the listener closes. The kernel is asked all the while, and may
// have found the socket just before.
func TestInfoOfAConnectionThatGoesUnaccepted(t *testing.T) {
	t.Parallel()
	needDiag(t)
	for range 600 {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		c, err := Loopback{}.Connect(t.Context(), "tcp4", ln.Addr().String(), network.ConnectOptions{})
		require.NoError(t, err)
		var once sync.Once
		var closing sync.WaitGroup
		for info := infoOf(t, c); info.Other != nil; info = infoOf(t, c) {
			if info.Other.State != "SYN-RECEIVED" && !assert.True(t, info.Other.Queued, "%v", info.Other) {
				break
			}
			once.Do(func() { closing.Go(func() { assert.NoError(t, ln.Close()) }) })
		}
		closing.Wait()
		require.NoError(t, c.Close())
	}
}
