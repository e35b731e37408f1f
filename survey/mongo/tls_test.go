package mongo

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/sockettest"
	"example.com/go-sockettest/survey/internal/exam"
)

// overTLS makes the client speak TLS.
func overTLS(set func(*options.ClientOptions, time.Duration)) func(*options.ClientOptions, time.Duration) {
	return func(o *options.ClientOptions, d time.Duration) {
		o.SetTLSConfig(tlsfault.ClientConfig())
		set(o, d)
	}
}

func TestMongoOverTLS(t *testing.T) {
	t.Parallel()
	const (
		choose = "SetServerSelectionTimeout (default 30s)"
		whole  = "SetTimeout (default none)"
		ctx    = "the context"
	)
	stalled, secured := tlsfault.Stall{At: tlsfault.AfterServerHello}, tlsfault.OverTLS{Then: silent}
	exam.Run(t, client.OverTLS(), []exam.Case{
		{Name: exam.Stalled, Fixture: stalled, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(overTLS(selection))},
		{Name: exam.Stalled + ", context", Fixture: stalled, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(overTLS(none))},
		{Name: exam.Stalled + ", connect limit only", Fixture: stalled, Knob: "SetConnectTimeout (default 30s), which is for each dial", Want: exam.Never().Times(3), Op: ping(overTLS(connectOnly))},
		{Name: exam.Untrusted, Fixture: tlsfault.Untrusted{}, Knob: choose, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(overTLS(selection))},
		{Name: exam.Untrusted + ", context", Fixture: tlsfault.Untrusted{}, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(overTLS(none))},
		{Name: exam.SecuredSilent, Fixture: secured, Knob: ctx, Want: exam.AtLimit(sockettest.TimedOut), Op: pingWithin(overTLS(none))},
		{Name: exam.SecuredSilent + ", operation", Fixture: secured, Knob: whole, Want: exam.AtLimit(sockettest.TimedOut), Op: ping(overTLS(operation))},
		{Name: exam.SecuredSilent + ", no limit", Fixture: secured, Knob: "none", Want: exam.Never(), Op: ping(overTLS(none))},
	})
}

// FINDINGS.md, mongo 3: a certificate that is not trusted is tried again twice a second while somebody waits, and every 10 s when
// nobody does, forever. That it is the certificate only the text of the error tells.
func TestUntrustedCertificateIsTriedForEver(t *testing.T) {
	t.Parallel()
	sockettest.Bubble(t, func(t *testing.T) {
		sockettest.NoLeaks(t)
		p := on(t, tlsfault.Untrusted{})
		p.Limit = 20*time.Second + 250*time.Millisecond
		r := sockettest.Expect(t, p.Endpoint, sockettest.TimedOut.At(p.Limit), ping(overTLS(selection))(t, p))
		_, told := errors.AsType[*tls.CertificateVerificationError](r.Err)
		assert.False(t, told)
		assert.ErrorContains(t, r.Err, "x509: certificate signed by unknown authority")
		assert.Len(t, p.Conns(), 41)
		time.Sleep(time.Minute) // rules:allow virtual time
		all := p.Conns()
		assert.Equal(t, 500*time.Millisecond, all[40].Opened()-all[39].Opened())
		assert.Equal(t, 10*time.Second, all[len(all)-1].Opened()-all[len(all)-2].Opened())
	})
}
