package rawsock

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/windows"
)

// here is from Microsoft's documentation; nothing of it was run.
//
// It sets no SO_REUSEADDR: on Windows that would take a port from whoever has it, and binding
// beside connections of an earlier listener needs no option (package net, sockopt_windows.go). A
// dialer retries a refused SYN, so that being refused takes 2 seconds (kernel.md, section 2).
var here = platform{
	goos:    runtime.GOOS,
	refuse:  connected,
	drop4:   silent,
	drop6:   silent,
	bind:    bindOnly,
	silence: acceptConditionally,

	silenceName: "SO_CONDITIONAL_ACCEPT",
}

// soConditionalAccept is SO_CONDITIONAL_ACCEPT of WinSock2.h, which package windows has not.
const soConditionalAccept = 0x3002

// acceptConditionally leaves each SYN to the program, which must call accept to have it answered;
// nobody does ("the TCP stack does not automatically accept connections", Microsoft,
// "SO_CONDITIONAL_ACCEPT socket option"). It must be set before listen.
func acceptConditionally(fd uintptr) error {
	err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soConditionalAccept, 1)
	return os.NewSyscallError("setsockopt", err)
}

// startWinsock comes before our own system calls: package net starts Winsock only with its first
// socket.
var startWinsock = sync.OnceValue(func() error {
	return os.NewSyscallError("wsastartup", windows.WSAStartup(0x202, &windows.WSAData{}))
})

// A boundSocket holds a port by a socket that never listens.
type boundSocket windows.Handle

// Close frees the port.
func (s boundSocket) Close() error {
	return os.NewSyscallError("closesocket", windows.Closesocket(windows.Handle(s)))
}

// bindOnly needs no reuse; see here.
func bindOnly(a *net.TCPAddr, _ bool) (io.Closer, int, error) {
	if err := startWinsock(); err != nil {
		return nil, 0, err
	}
	h, err := windows.WSASocket(int32(familyOf(a)), windows.SOCK_STREAM, windows.IPPROTO_TCP, nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT) // a child process would hold the port
	if err != nil {
		return nil, 0, os.NewSyscallError("wsasocket", err)
	}
	port, err := bindSocket(syscall.Handle(h), sockaddr(a))
	if err != nil {
		_ = windows.Closesocket(h)
		return nil, 0, err
	}
	return boundSocket(h), port, nil
}

func bindSocket(h syscall.Handle, sa syscall.Sockaddr) (port int, err error) {
	if err := syscall.Bind(h, sa); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	got, err := syscall.Getsockname(h)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return inetPort(got), nil
}
