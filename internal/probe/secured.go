package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/script"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/internal/rawsock"
)

// secured are the fixtures of package tlsfault.
var secured = []Row{
	{Fixture: tlsfault.OverTLS{}, Judge: on(echoesSecurely), Bad: map[string]any{
		"OverTLS.Then is a nil *fixtures.Echo; want one that serves":         tlsfault.OverTLS{Then: (*fixtures.Echo)(nil)},
		"OverTLS.Then is BlackHole{}, which takes no connection; want one":   tlsfault.OverTLS{Then: fixtures.BlackHole{}},
		"OverTLS.Then is NeverAccept{}, which takes no connection; want one": tlsfault.OverTLS{Then: fixtures.NeverAccept{}},
		"OverTLS.Then: Drip.Every is -1s; want 0":                            tlsfault.OverTLS{Then: fixtures.Drip{Every: -time.Second}},
		"OverTLS.Then: Scripted.Steps: step 1 of 1, Wait(-1s): d is -1s; wa": tlsfault.OverTLS{Then: scripted(script.Wait(-time.Second))},
		"OverTLS.Config has no certificate; want one that has":               tlsfault.OverTLS{Config: new(tls.Config)},
	}},
	{Fixture: tlsfault.OverTLS{Then: scripted(script.Read(5), script.Send("hello"), script.Discard())}, Special: "Scripted", Armed: true,
		Judge: on(echoesSecurely)},
	{Fixture: tlsfault.Stall{}, Judge: on(stallsHandshake), Bad: map[string]any{
		"tlsfault.Stall{At: Point(3)}: Stall.At is Point(3); want BeforeServerHello, AfterServerHello or MidRecord": tlsfault.Stall{At: 3},
		"Stall.At is Point(-1); want": tlsfault.Stall{At: -1},
		"tlsfault.Stall{Config: *tls.Config}: Stall.Config has no certificate; want one that has, such as ServerConfig()": tlsfault.Stall{Config: new(tls.Config)},
	}},
	{Fixture: tlsfault.Stall{At: tlsfault.AfterServerHello}, Special: "AfterServerHello", Judge: on(stallsHandshake)},
	{Fixture: tlsfault.Stall{At: tlsfault.MidRecord}, Special: "MidRecord", Judge: on(stallsHandshake)},
	{Fixture: tlsfault.Close{}, Judge: on(failsHandshake(isEOF)), Bad: map[string]any{
		"tlsfault.Close{At: Point(3)}: Close.At is Point(3); want": tlsfault.Close{At: 3},
		"Close.Config has no certificate; want one that has":       tlsfault.Close{Config: new(tls.Config)},
	}},
	{Fixture: tlsfault.Close{At: tlsfault.AfterServerHello}, Special: "AfterServerHello", Judge: on(failsHandshake(isEOF))},
	{Fixture: tlsfault.Close{At: tlsfault.MidRecord}, Special: "MidRecord", Judge: on(failsHandshake(isEOF))},
	{Fixture: tlsfault.Reset{}, Judge: on(failsHandshake(isReset)), First: true, Bad: map[string]any{
		"tlsfault.Reset{At: Point(3)}: Reset.At is Point(3); want": tlsfault.Reset{At: 3},
		"Reset.Config has no certificate; want one that has":       tlsfault.Reset{Config: new(tls.Config)},
	}},
	{Fixture: tlsfault.Reset{At: tlsfault.AfterServerHello}, Special: "AfterServerHello", Judge: on(failsHandshake(isReset)), First: true},
	{Fixture: tlsfault.Reset{At: tlsfault.MidRecord}, Special: "MidRecord", Judge: on(failsHandshake(isReset)), First: true},
	{Fixture: tlsfault.PlainText{}, Judge: on(failsHandshake(is[tls.RecordHeaderError]))},
	{Fixture: tlsfault.Expired{}, Judge: on(failsHandshake(is[x509.CertificateInvalidError]))},
	{Fixture: tlsfault.Untrusted{}, Judge: on(failsHandshake(is[x509.UnknownAuthorityError]))},
	{Fixture: tlsfault.NotYetValid{}, Judge: on(failsHandshake(invalid(x509.Expired)))},
	{Fixture: tlsfault.WrongUsage{}, Judge: on(failsHandshake(invalid(x509.IncompatibleUsage)))},
	{Fixture: tlsfault.NameConstraint{}, Judge: on(failsHandshake(invalid(x509.CANotAuthorizedForThisName)))},
	{Fixture: tlsfault.SelfSigned{}, Judge: on(failsHandshake(is[x509.UnknownAuthorityError]))},
	{Fixture: tlsfault.MissingIntermediate{}, Judge: on(failsHandshake(is[x509.UnknownAuthorityError]))},
	{Fixture: tlsfault.RefuseClient{}, Judge: on(alerts)},
	{Fixture: tlsfault.OldVersion{}, Judge: on(alerts)},
	{Fixture: tlsfault.NoProtocol{}, Judge: on(alerts)},
	{Fixture: tlsfault.WrongName{}, Judge: on(failsHandshake(is[x509.HostnameError]))},
}

func scripted(steps ...script.Step) fixtures.Scripted { return fixtures.Scripted{Steps: steps} }

func is[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

func invalid(why x509.InvalidReason) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[x509.CertificateInvalidError](err)
		return ok && e.Reason == why
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func isReset(err error) bool { return faultOf(err) == rawsock.ResetByPeer }

// handshake connects, and goes on with a client of TLS that has not said anything yet.
func handshake(ctx context.Context, ep *fixtures.Endpoint, f func(conn, *tls.Conn) (string, error)) (string, error) {
	c, err := connect(ctx, ep)
	if err != nil {
		return "", err
	}
	defer c.abort()
	config := tlsfault.ClientConfig()
	config.NextProtos = []string{"http/1.1"} // a server that says none takes any
	return f(c, tls.Client(c, config))
}

func echoesSecurely(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return handshake(ctx, ep, func(c conn, secure *tls.Conn) (string, error) {
		above := conn{secure, ctx, c.quiet}
		if err := above.say("hello"); err != nil {
			return "", err
		}
		if err := above.expect("hello"); err != nil {
			return "", err
		}
		return tls.VersionName(secure.ConnectionState().Version), errors.Join(secure.CloseWrite(), above.ends(""))
	})
}

func failsHandshake(how func(error) bool) func(context.Context, *fixtures.Endpoint) (string, error) {
	return func(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
		return handshake(ctx, ep, func(_ conn, secure *tls.Conn) (string, error) {
			if err := secure.HandshakeContext(ctx); err == nil || !how(err) {
				return "", fmt.Errorf("a handshake was to fail otherwise, and returned %w", orNil(err))
			}
			return "", nil
		})
	}
}

// alerts: the server tells the client by an alert, at the latest when it reads.
func alerts(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return handshake(ctx, ep, func(_ conn, secure *tls.Conn) (string, error) {
		err := secure.HandshakeContext(ctx)
		if err == nil {
			_, err = secure.Read(make([]byte, 1))
		}
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "remote error" {
			return "", fmt.Errorf("an alert was to come, and it returned %w", orNil(err))
		}
		return "", nil
	})
}

func stallsHandshake(ctx context.Context, ep *fixtures.Endpoint) (string, error) {
	return handshake(ctx, ep, func(c conn, secure *tls.Conn) (string, error) {
		_ = c.SetReadDeadline(time.Now().Add(c.quiet))
		if err := secure.HandshakeContext(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("a handshake should have waited, and returned %w", orNil(err))
		}
		return "", nil
	})
}
