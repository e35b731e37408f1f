// Package bare hides what a network has beyond package network's interfaces. A network under it is
// like one that somebody else wrote from the interfaces' docs: whatever works on it needs no more.
package bare

import (
	"context"

	"example.com/go-sockettest/network"
)

// Stack returns s with the methods of [network.Stack] and no others. The same holds for the ports
// and connections that it returns.
func Stack(s network.Stack) network.Stack { return &stack{s} }

type stack struct{ network.Stack }

type (
	port       struct{ network.Port }
	packetPort struct{ network.PacketPort }
	conn       struct{ network.Conn }
)

func (s *stack) Bind(ctx context.Context, nw, address string) (network.Port, error) {
	p, err := s.Stack.Bind(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	return port{p}, nil
}

func (s *stack) BindPacket(ctx context.Context, nw, address string) (network.PacketPort, error) {
	p, err := s.Stack.BindPacket(ctx, nw, address)
	if err != nil {
		return nil, err
	}
	return packetPort{p}, nil
}

func (s *stack) Connect(ctx context.Context, nw, address string, o network.ConnectOptions) (network.Conn, error) {
	c, err := s.Stack.Connect(ctx, nw, address, o)
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

func (p port) Accept() (network.Conn, error) {
	c, err := p.Port.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}
