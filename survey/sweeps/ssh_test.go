package sweeps

import (
	"context"
	"crypto/ed25519"
	"io"
	"net"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/crypto/ssh"

	"example.com/go-sockettest/sweep"
)

var sshClient = subject{
	name: "ssh", module: "golang.org/x/crypto",
	does: "key exchange, password, a command with its output; a deadline of 5 s on the connection",
	cfg:  sweep.Config{Server: serving(serveSSH), Limit: 11 * time.Second, Max: 600},
	op: func(ctx context.Context, c *sweep.Case) error {
		run := func(ctx context.Context) error {
			dialCtx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			conn, err := c.DialContext(dialCtx, "tcp", c.Addr())
			if err != nil {
				return err
			}
			_ = conn.SetDeadline(time.Now().Add(timeout))
			sc, chans, reqs, err := ssh.NewClientConn(conn, c.Addr(), &ssh.ClientConfig{User: "user", Auth: []ssh.AuthMethod{ssh.Password("secret")},
				HostKeyCallback: ssh.FixedHostKey(hostKey().PublicKey())})
			if err != nil {
				_ = conn.Close()
				return err
			}
			client := ssh.NewClient(sc, chans, reqs)
			defer c.Close(client.Close)
			session, err := client.NewSession()
			if err != nil {
				return err
			}
			defer session.Close()
			out, err := session.Output("hello")
			if err == nil {
				assert.Equal(c, "hello, world", string(out))
			}
			return err
		}
		err := run(ctx)
		c.Recovers(run)
		return err
	},
}

// hostKey has the same length of signatures each time.
var hostKey = sync.OnceValue(func() ssh.Signer {
	key, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return key
})

func serveSSH(conn net.Conn) error {
	cfg := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }}
	cfg.AddHostKey(hostKey())
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	sc, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return err
	}
	defer sc.Close()
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		ch, reqs, err := n.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer ch.Close()
			for r := range reqs {
				_ = r.Reply(true, nil)
				if r.Type == "exec" {
					_, _ = io.WriteString(ch, "hello, world")
					_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					return
				}
			}
		}()
	}
	return nil
}
