package main

// An edit puts one line of ours at the top of a function of package net, or of a struct.
type edit struct {
	file   string // in GOROOT/src/net
	anchor string // the declaration, which must read so
	line   string
	why    string
}

// edits are all that the overlay changes in Go's files. What they call is in
// overlay/zz_sockettest.go.txt, which is added to package net.
var edits = []edit{
	{"fd_posix.go", "type netFD struct", "sim *simFD",
		"a socket that is simulated; nil for one of the kernel"},
	{"sock_posix.go", "func socket(ctx context.Context, net string, family, sotype, proto int, ipv6only bool, laddr, raddr sockaddr, ctrlCtxFn func(context.Context, string, string, syscall.RawConn) error) (fd *netFD, err error)",
		"if fd, err := simMakeSocket(ctx, net, family, sotype, ipv6only, laddr, raddr, ctrlCtxFn); fd != nil || err != nil { return fd, err }",
		"every Dial and Listen comes by here, its addresses resolved"},
	{"fd_unix.go", "func (fd *netFD) accept() (netfd *netFD, err error)", "if fd.sim != nil { return fd.simAccept() }",
		"Accept, which then makes a *TCPConn of it"},
	{"fd_unix.go", "func (fd *netFD) dup() (f *os.File, err error)", "if fd.sim != nil { return nil, errSimNoFile }",
		"File: there is no descriptor"},

	{"fd_posix.go", "func (fd *netFD) Close() error", "if fd.sim != nil { return simErr(fd.sim.Close()) }",
		"connections, listeners and UDP sockets"},
	{"fd_posix.go", "func (fd *netFD) shutdown(how int) error", "if fd.sim != nil { return fd.simShutdown(how) }",
		"CloseRead and CloseWrite"},
	{"fd_posix.go", "func (fd *netFD) Read(p []byte) (n int, err error)", "if fd.sim != nil { return fd.simRead(p) }",
		"Read, of UDP too"},
	{"fd_posix.go", "func (fd *netFD) Write(p []byte) (nn int, err error)", "if fd.sim != nil { return fd.simWrite(p) }",
		"Write, of UDP too"},
	{"fd_posix.go", "func (fd *netFD) SetDeadline(t time.Time) error", "if fd.sim != nil { return simErr(fd.sim.SetDeadline(t)) }",
		"SetDeadline, of a listener too"},
	{"fd_posix.go", "func (fd *netFD) SetReadDeadline(t time.Time) error", "if fd.sim != nil { return simErr(fd.sim.SetReadDeadline(t)) }",
		"SetReadDeadline"},
	{"fd_posix.go", "func (fd *netFD) SetWriteDeadline(t time.Time) error", "if fd.sim != nil { return simErr(fd.sim.SetWriteDeadline(t)) }",
		"SetWriteDeadline"},
	{"writev_unix.go", "func (fd *netFD) writeBuffers(v *Buffers) (n int64, err error)", "if fd.sim != nil { return fd.simWriteBuffers(v) }",
		"Buffers.WriteTo, instead of writev(2)"},

	{"tcpsock_posix.go", "func (c *TCPConn) readFrom(r io.Reader) (int64, error)", "if c.fd.sim != nil { return genericReadFrom(c, r) }",
		"io.Copy to a connection, without splice(2) and sendfile(2)"},
	{"tcpsock_posix.go", "func (c *TCPConn) writeTo(w io.Writer) (int64, error)", "if c.fd.sim != nil { return genericWriteTo(c, w) }",
		"io.Copy from a connection, without splice(2)"},
	{"splice_linux.go", "func spliceFrom(c *netFD, r io.Reader) (written int64, err error, handled bool)", "if simReader(r) { return 0, nil, false }",
		"io.Copy from a simulated connection to one of the kernel"},

	{"sockopt_posix.go", "func setReadBuffer(fd *netFD, bytes int) error", "if fd.sim != nil { return simErr(fd.sim.conn.SetReadBuffer(bytes)) }",
		"SetReadBuffer"},
	{"sockopt_posix.go", "func setWriteBuffer(fd *netFD, bytes int) error", "if fd.sim != nil { return simErr(fd.sim.conn.SetWriteBuffer(bytes)) }",
		"SetWriteBuffer"},
	{"sockopt_posix.go", "func setLinger(fd *netFD, sec int) error", "if fd.sim != nil { return simErr(fd.sim.tcp.SetLinger(sec)) }",
		"SetLinger"},
	{"sockopt_posix.go", "func setKeepAlive(fd *netFD, keepalive bool) error", "if fd.sim != nil { return simErr(fd.sim.tcp.SetKeepAlive(keepalive)) }",
		"SetKeepAlive"},
	{"tcpsockopt_posix.go", "func setNoDelay(fd *netFD, noDelay bool) error", "if fd.sim != nil { return simErr(fd.sim.tcp.SetNoDelay(noDelay)) }",
		"SetNoDelay"},
	{"tcpsock.go", "func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error", "if c.ok() && c.fd.sim != nil { return c.fd.sim.tcp.SetKeepAlivePeriod(d) }",
		"SetKeepAlivePeriod"},
	{"tcpsock_unix.go", "func (c *TCPConn) SetKeepAliveConfig(config KeepAliveConfig) error", "if c.ok() && c.fd.sim != nil { return c.fd.sim.tcp.SetKeepAliveConfig(config) }",
		"SetKeepAliveConfig, which package net calls on each new connection"},

	{"mptcpsock_linux.go", "func isUsingMultipathTCP(fd *netFD) bool", "if fd.sim != nil { return false }",
		"MultipathTCP, which takes an error for yes"},

	{"udpsock_posix.go", "func (c *UDPConn) readFrom(b []byte, addr *UDPAddr) (int, *UDPAddr, error)", "if c.fd.sim != nil { return c.simReadFrom(b, addr) }",
		"ReadFrom and ReadFromUDP"},
	{"udpsock_posix.go", "func (c *UDPConn) readFromAddrPort(b []byte) (n int, addr netip.AddrPort, err error)", "if c.fd.sim != nil { return c.simReadFromAddrPort(b) }",
		"ReadFromUDPAddrPort"},
	{"udpsock_posix.go", "func (c *UDPConn) readMsg(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)", "if c.fd.sim != nil { return c.simReadMsg(b, oob) }",
		"ReadMsgUDP and ReadMsgUDPAddrPort"},
	{"udpsock_posix.go", "func (c *UDPConn) writeTo(b []byte, addr *UDPAddr) (int, error)", "if n, done, err := c.simWriteTo(b, addr); done { return n, err }",
		"WriteTo and WriteToUDP; of a kernel's socket whether it may"},
	{"udpsock_posix.go", "func (c *UDPConn) writeToAddrPort(b []byte, addr netip.AddrPort) (int, error)", "if n, done, err := c.simWriteToAddrPort(b, addr); done { return n, err }",
		"WriteToUDPAddrPort"},
	{"udpsock_posix.go", "func (c *UDPConn) writeMsg(b, oob []byte, addr *UDPAddr) (n, oobn int, err error)", "if n, oobn, done, err := c.simWriteMsg(b, oob, addr); done { return n, oobn, err }",
		"WriteMsgUDP"},
	{"udpsock_posix.go", "func (c *UDPConn) writeMsgAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)", "if n, oobn, done, err := c.simWriteMsgAddrPort(b, oob, addr); done { return n, oobn, err }",
		"WriteMsgUDPAddrPort"},

	{"tcpsock.go", "func (c *TCPConn) SyscallConn() (syscall.RawConn, error)", "if c.ok() && c.fd.sim != nil { return c.fd.sim.SyscallConn() }",
		"pools look at the descriptor to see whether a connection is alive; without package net's own RawConn, os.File does not use splice(2) either"},
	{"tcpsock.go", "func (l *TCPListener) SyscallConn() (syscall.RawConn, error)", "if l.ok() && l.fd.sim != nil { return l.fd.sim.SyscallConn() }",
		"options of a listener"},
	{"udpsock.go", "func (c *UDPConn) SyscallConn() (syscall.RawConn, error)", "if c.ok() && c.fd.sim != nil { return c.fd.sim.SyscallConn() }",
		"options of a UDP socket"},

	{"lookup.go", "func (r *Resolver) lookupIPAddr(ctx context.Context, network, host string) ([]IPAddr, error)", "if addrs, known, err := r.simLookupIPAddr(ctx, network, host); known { return addrs, err }",
		"the names of a dial, and LookupIP and the like; above what joins the lookups of several goroutines, which may be in several bubbles"},
	{"lookup_unix.go", "func (r *Resolver) lookupHost(ctx context.Context, host string) (addrs []string, err error)", "if addrs, known, err := r.simLookupHost(ctx, host); known { return addrs, err }",
		"LookupHost"},
	{"conf.go", "func (c *conf) mustUseGoResolver(r *Resolver) bool", "if simNow() != nil { return true }",
		"other lookups (TXT, PTR): Go's resolver asks name servers by simulated sockets, libc would by real ones"},
}
