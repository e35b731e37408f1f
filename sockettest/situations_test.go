package sockettest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/simnet"
	"example.com/go-sockettest/sockettest"
)

// An MQTT client tries a second version of its protocol: its limit for the connect counts twice.
func TestSituationLimitCountsForEachVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Silent{}, sockettest.On(simnet.New(t)))
		twice := sockettest.Backoff{Attempts: 2, First: s}
		sockettest.Expect(t, ep, sockettest.TimedOut.At(2*s).Retrying(twice), failover(ep, ep))
		sockettest.ExpectConnEnd(t, ep, 1, sockettest.Closed.AtOnce())
		sockettest.ExpectConnEnd(t, ep, 2, sockettest.Closed.AtOnce())
	})
}

// A write without a limit waits until RST, and returns then.
func TestSituationWriteReturnsAfterReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.NeverRead{}, sockettest.On(simnet.New(t)))
		want := sockettest.Blocked.For(time.Hour).LetGo(sockettest.ByRST)
		r := sockettest.Expect(t, ep, want, func(ctx context.Context) error {
			c, err := ep.DialContext(ctx, "", "")
			if err != nil {
				return err
			}
			_, err = c.Write(make([]byte, 64<<20))
			return errors.Join(err, c.Close())
		})
		require.NotNil(t, r.Then)
		assert.NoError(t, sockettest.ResetByPeer.AtOnce().Check(*r.Then))
	})
}

// A client goes on trying while a daemon is not there yet, and finds it at the third attempt.
func TestSituationDaemonIsNotThereYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ep := sockettest.Start(t, fixtures.Refused{}, sockettest.On(simnet.New(t)))
		time.AfterFunc(4*s, func() { assert.NoError(t, ep.Become(fixtures.Echo{})) })
		steady := sockettest.Backoff{Attempts: 3, First: 3 * s, Grows: 1}
		sockettest.Expect(t, ep, sockettest.Accepted.At(6*s).Retrying(steady), retry(ep.DialContext, ep.Addr(), 3*s, 3*s, 3*s))
	})
}
