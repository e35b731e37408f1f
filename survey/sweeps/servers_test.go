package sweeps

import (
	"context"
	"time"

	"example.com/go-sockettest/sweep"
)

// The servers under test are those that the clients talk to, with limits: a good client is cut off at each byte, and the server
// must have let go of it serverLimit later, serve the next one, and end.
const serverLimit = 40 * time.Second

var httpServer = subject{
	name: "http1-server", does: "net/http's server, with ReadTimeout and IdleTimeout of 30 s; its client is cut off",
	cfg: sweep.Config{Server: serveHTTP(nil, false), Limit: 11 * time.Second, ServerLimit: serverLimit},
	op:  httpClient.op,
}

var grpcServer = subject{
	name: "grpc-server", module: "google.golang.org/grpc",
	does: "its server, with ConnectionTimeout of 30 s, and keep-alive of 10 s and 5 s; its client is cut off, but not by fin",
	cfg:  sweep.Config{Server: serveGRPC, Limit: 16 * time.Second, ServerLimit: serverLimit, Faults: without("fin")},
	op: func(ctx context.Context, c *sweep.Case) error {
		use := func(ctx context.Context) error { // a client for each: one that stays connects again by itself
			cc, err := dialGRPC(c)
			if err != nil {
				return err
			}
			defer c.Close(cc.Close)
			return check(ctx, c, cc, 3)
		}
		err := use(ctx)
		c.Recovers(use)
		return err
	},
}

var sshServer = subject{
	name: "ssh-server", module: "golang.org/x/crypto",
	does: "its server, with a deadline of 30 s on the connection; its client is cut off",
	cfg:  sweep.Config{Server: serving(serveSSH), Limit: 11 * time.Second, ServerLimit: serverLimit, Max: 600},
	op:   sshClient.op,
}
