package rawsock

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"example.com/go-sockettest/internal/patience"
)

// sleepUntil waits for a timer of the kernel on Go's poller. Go's own timers wait in whole
// milliseconds (epoll_wait), and so can be up to one late, as on any schedule: BenchmarkSchedule
// shows both.
func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := kernelTimer(d)
	if err != nil {
		return patience.SleepUntil(ctx, t) // no descriptors left, say
	}
	defer func() { _ = f.Close() }()
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	_, _ = f.Read(make([]byte, 8))     // until it expires
	return patience.SleepUntil(ctx, t) // nothing is left, unless ctx has ended, or the clocks were rounded
}

func kernelTimer(d time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return os.NewFile(uintptr(fd), "timerfd"), nil
}
