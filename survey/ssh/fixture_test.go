package ssh_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/network"
)

// A server is x/crypto/ssh's own on the connections of a fixture, which can be cut: it lets everybody in, opens no channel,
// and answers keep-alive requests.
type server struct{}

// Plan makes it a [fixtures.Fixture].
func (server) Plan() (fixtures.Plan, error) {
	return fixtures.Plan{
		State: network.State{Answer: network.Listen},
		Serve: func(_ context.Context, c *fixtures.Conn) error {
			conn, channels, requests, err := ssh.NewServerConn(c, serverConfig())
			if err != nil {
				return err
			}
			defer conn.Close()
			var wg sync.WaitGroup
			wg.Go(func() { ssh.DiscardRequests(requests) })
			for ch := range channels {
				_ = ch.Reject(ssh.Prohibited, "no channels here")
			}
			wg.Wait()
			return conn.Wait()
		},
		Rule: "an SSH connection has no idle timeout: whoever waits for an answer on it needs one of his own (RFC 4254, section 4)",
	}, nil
}

// hostKey is the same in every run: nobody is to be kept out by it.
var hostKey = sync.OnceValue(func() ssh.Signer {
	key, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return key
})

func serverConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{NoClientAuth: true}
	c.AddHostKey(hostKey())
	return c
}

// version is the line that each side begins with (RFC 4253, section 4.2).
const version = "SSH-2.0-sockettest\r\n"

// kexInit reads the other side's first packet, which begins its key exchange: it is not encrypted yet (RFC 4253, section 6).
func kexInit() script.Step {
	return script.Do(func(_ context.Context, c script.Conn) error {
		var length [4]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(length[:])))
		return err
	})
}
