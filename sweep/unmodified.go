package sweep

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"example.com/go-sockettest/internal/intercept"
	"example.com/go-sockettest/simnet"
)

// whole is held while the process, outside of bubbles, is on the network of a conversation.
var whole sync.Mutex

// intercept puts package net on the network of this conversation, if the test was built with the
// overlay: then code that takes no dial function is swept as well.
func (c *Case) intercept(nw *simnet.Network, real bool) (undo func(), err error) {
	if simnet.CanIntercept() != nil {
		return func() {}, nil
	}
	if real {
		whole.Lock()
	}
	leave, err := intercept.Install(caseStack{intercept.StackOf(nw), c}, nw)
	return func() {
		if err == nil {
			leave()
		}
		if real {
			whole.Unlock()
		}
	}, err
}

// A caseStack counts dials and answers lookups as [Case.DialContext] does.
type caseStack struct {
	intercept.Stack
	c *Case
}

// Socket counts those that dial.
func (s caseStack) Socket(ctx context.Context, network string, local, remote netip.AddrPort, control func(syscall.RawConn) error) (any, error) {
	if remote.IsValid() && strings.HasPrefix(network, "tcp") {
		if err := s.c.mayDial(); err != nil {
			return nil, err
		}
	}
	return s.Stack.Socket(ctx, network, local, remote, control)
}

// LookupNetIP asks the name server of the conversation for [Config.Host].
func (s caseStack) LookupNetIP(ctx context.Context, name string) (addrs []netip.Addr, known bool, err error) {
	if s.c.names.ep == nil || !strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(s.c.names.host, ".")) {
		return s.Stack.LookupNetIP(ctx, name)
	}
	addrs, err = s.c.Resolver().LookupNetIP(ctx, "ip4", strings.TrimSuffix(name, ".")+".")
	for i, ip := range addrs {
		addrs[i] = ip.Unmap()
	}
	return addrs, true, err
}
