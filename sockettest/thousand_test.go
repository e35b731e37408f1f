package sockettest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/internal/manytests"
)

// A thousand parallel tests, each with a fixture and a client of its own, get on in one package.
// They run in a process of their own, all at once, whatever -parallel says here: it needs some
// 3,000 descriptors.
func TestThousand(t *testing.T) {
	manytests.Long(t, "it is 1,000 tests")
	begin := time.Now()
	wait := manytests.Start(t, "SOCKETTEST_CHILD=thousand", "-test.run=^TestThousandChild$", "-test.parallel=1000", "-test.v")
	t.Parallel()
	out, err := wait()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, out, "--- PASS: TestThousandChild")
	t.Logf("1,000 tests took %v", time.Since(begin))
}

// TestThousandChild is what TestThousand runs.
func TestThousandChild(t *testing.T) {
	if os.Getenv("SOCKETTEST_CHILD") != "thousand" {
		t.Skip("TestThousand runs it, in a process of its own")
	}
	const short = 20 * time.Millisecond
	kinds := []struct {
		fixture fixtures.Fixture
		client  client
		want    Window
	}{
		{fixtures.Refused{}, client{}, Rejected.AtOnce().In("connect")},
		{fixtures.BlackHole{}, client{connect: short}, TimedOut.After(short).In("connect")},
		{fixtures.NeverAccept{}, client{read: short}, TimedOut.After(short).In("read")},
		{fixtures.SlowAccept{Delay: short}, client{want: "hello"}, Accepted.After(short)},
		{fixtures.Silent{}, client{read: short}, TimedOut.After(short).In("read")},
		{fixtures.Echo{}, client{want: "hello"}, Accepted.AtOnce()},
		{fixtures.Drip{Data: "drip", Every: short / 4}, client{want: "drip"}, Accepted.After(3 * short / 4)},
		{fixtures.Close{AfterRead: 5}, client{}, Closed.AtOnce()},
		{fixtures.Reset{AfterRead: 5}, client{}, ResetByPeer.AtOnce()},
		{fixtures.Scripted{Steps: script.Script{script.Match("hello"), script.Send("well"), script.Discard()}}, client{want: "well"},
			Accepted.AtOnce()},
	}
	for i := range 1000 {
		k := kinds[i%len(kinds)]
		t.Run(fmt.Sprintf("%T %d", k.fixture, i), func(t *testing.T) {
			t.Parallel()
			NoLeaks(t)
			ep := Start(t, k.fixture)
			k.client.addr = ep.Addr()

			// Late is not what this is about: 999 others run.
			Expect(t, ep, k.want.Slack(time.Minute), k.client.hello)
		})
	}
}

// A client says hello and reads an answer.
type client struct {
	addr          string
	connect, read time.Duration // limits; 0 is none
	want          string        // the answer; empty is any byte
}

func (c client) hello(ctx context.Context) error {
	nc, err := (&net.Dialer{Timeout: c.connect}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.(*net.TCPConn).SetLinger(0) // else a thousand ports would be taken for a minute (TIME_WAIT)
	if _, err := io.WriteString(nc, "hello"); err != nil {
		return err
	}
	if c.read > 0 {
		if err := nc.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return err
		}
	}
	got := make([]byte, max(1, len(c.want)))
	if _, err := io.ReadFull(nc, got); err != nil {
		return err
	}
	if c.want != "" && string(got) != c.want {
		return fmt.Errorf("got %q, want %q", got, c.want)
	}
	return nil
}
