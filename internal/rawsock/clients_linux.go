package rawsock

import (
	"net"

	"example.com/go-sockettest/network"
)

// Clients returns the sockets of this machine that are connecting or connected to the port: those whose SYN nobody has
// answered, those that wait in the accept queue, and those that were accepted. Where sock_diag does not answer, the
// error wraps [errors.ErrUnsupported].
func (p *port) Clients() ([]network.Client, error) {
	var all []diagSocket
	err := askOnce(func(d *sockDiag) (err error) {
		all, err = d.to(literal(p.addr), 1<<tcpSynSent|1<<tcpEstablished)
		return err
	})
	if err != nil {
		return nil, unsupported("the clients of a port are not shown", err)
	}
	clients := make([]network.Client, len(all))
	for i, s := range all {
		clients[i] = network.Client{Addr: net.TCPAddrFromAddrPort(s.local), Socket: *toSocketInfo(s.state, s.unread, s.unacked, &s.info)}
	}
	return clients, nil
}
