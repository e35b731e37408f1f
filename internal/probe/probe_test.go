package probe

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/dnsfault"
	"example.com/go-sockettest/fixtures/hostile"
	"example.com/go-sockettest/fixtures/httpfault"
	"example.com/go-sockettest/fixtures/tlsfault"
	"example.com/go-sockettest/fixtures/udp"
	"example.com/go-sockettest/simnet"
)

// No fixture is forgotten: each exported type below fixtures with a method Plan has a row, or the
// contract would not know it.
func TestEveryFixtureHasARow(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, r := range All() {
		known[r.Package()+"."+r.Type()] = true
	}
	seen := 0
	for _, name := range fixtureTypes(t) {
		seen++
		assert.True(t, known[name], "%s has no row in internal/probe", name)
	}
	assert.Greater(t, seen, 70, "this test looks for the wrong thing")
}

// fixtureTypes are the fixtures that the source declares, with their packages.
func fixtureTypes(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("../../fixtures", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "Plan" {
				if of, ok := f.Recv.List[0].Type.(*ast.Ident); ok && of.IsExported() {
					names = append(names, file.Name.Name+"."+of.Name)
				}
			}
		}
		return nil
	}))
	return names
}

// The rows are in the catalogue, and each package has some.
func TestRowsAreNamedAsInTheCatalogue(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/fixtures.md")
	require.NoError(t, err)
	names := map[string]bool{}
	for _, r := range All() {
		name, _, _ := strings.Cut(r.String(), ",")
		assert.Contains(t, string(docs), "| `"+name+"`")
		assert.False(t, names[r.String()], "%s is there twice: want Special", r)
		names[r.String()] = true
	}
	for _, pkg := range []string{"fixtures", "udp", "dnsfault", "tlsfault", "httpfault", "proxyfault", "hostile"} {
		assert.NotEmpty(t, Of(pkg), pkg)
	}
}

// Each judge is seen to fail at a fixture that behaves otherwise, in virtual time: a busy machine
// changes nothing.
func TestJudgesFindWhatDoesNotBehave(t *testing.T) {
	t.Parallel()
	client := func(f func(string) hostile.Fixture, j Judge) Row { return Row{Client: f, Judge: j} }
	halfCloses := func(s string) hostile.Fixture { return hostile.HalfClose{Target: s, Data: "hello"} }
	for want, r := range map[string]Row{
		"a connect should have been refused, and returned no error": {Fixture: fixtures.Echo{}, Judge: on(Refuses)},
		"a connect was to hang, and returned no error":              {Fixture: fixtures.Echo{}, Judge: on(AnswersNoSYN)},
		"a connect was to hang, and returned dial":                  {Fixture: fixtures.Refused{}, Judge: on(AnswersNoSYN)},
		"a connect succeeded":                                       {Fixture: fixtures.Echo{}, Judge: on(answersAsPlatform)},
		"a connect was to find no file, and returned no err":        {Fixture: fixtures.Echo{}, Judge: on(IsAbsent)},
		"a connect took 0s, want 1h0m0s or more":                    {Fixture: fixtures.Echo{}, Judge: on(ConnectsAfter(time.Hour))},
		"2 connects succeeded, want 1":                              {Fixture: fixtures.NeverAccept{}, Judge: on(Admits(1))},
		"a connect was to find the queue full":                      {Fixture: fixtures.Refused{}, Judge: on(Admits(1))},
		"a read should have waited, and returned 1, no error":       {Fixture: fixtures.Echo{}, Judge: on(SaysNothing)},
		`reading "hello", got "": EOF`:                              {Fixture: fixtures.Close{AfterRead: 5}, Judge: on(Echoes)},
		"an answer took 0s, want 1h0m0s or more":                    {Fixture: fixtures.Echo{}, Judge: on(AnswersAfter(time.Hour))},
		`read "" and then no error, want "hello" and FIN`:           {Fixture: fixtures.Close{AfterRead: 5}, Judge: on(Answers("hello"))},
		"a read should have been reset, and returned no error":      {Fixture: fixtures.Close{AfterRead: 5}, Judge: on(Resets)},
		"the first connection: a read should have been reset":       {Fixture: fixtures.Close{AfterRead: 5}, Judge: on(EchoesInTheEnd)},
		"the next connection: reading":                              {Fixture: fixtures.Reset{AfterRead: 5}, Judge: on(EchoesInTheEnd)},
		"a read should have waited, and returned 1":                 {Fixture: fixtures.Echo{}, Judge: on(RepliesToFIN(""))},
		"a write was to block, and wrote":                           {Fixture: fixtures.Silent{}, Judge: on(BlocksWrites)},
		"a connect failed: dial":                                    {Fixture: fixtures.Refused{}, Judge: on(Echoes)},

		`a read should have been refused, and returned "a", no error`:  {Fixture: udp.Echo{}, Judge: on(RefusesDatagrams)},
		"an answer took 0s, want 60ms":                                 {Fixture: udp.Echo{}, Judge: on(answersDatagramLate)},
		`after "" a read should have waited, and returned "a", no err`: {Fixture: udp.Echo{}, Judge: on(Datagrams("a", ""))},
		`read "a", no error, want "b" of "b a"`:                        {Fixture: udp.Echo{}, Judge: on(Datagrams("a b", "b a"))},
		`read "", read`:                                                {Fixture: udp.Refused{}, Judge: on(Datagrams("a", "a"))},

		`by udp: got ID 0x1717, RCodeSuccess, truncated false, ["127.0.0.1"]; want`: {Fixture: dnsfault.Zone{"*": {"127.0.0.1"}},
			Judge: resolver(resolves("127.0.0.2"))},
		"by udp: no answer should have come":        {Fixture: dnsfault.NXDomain{}, Judge: resolver(stub.silent)},
		"by udp: an answer took 0s":                 {Fixture: dnsfault.Zone{"*": {"127.0.0.1"}}, Judge: resolver(resolvesLate)},
		"by udp: got truncated false and 0 answers": {Fixture: dnsfault.NXDomain{}, Judge: resolver(truncates)},
		"by udp: the first query was answered":      {Fixture: dnsfault.NXDomain{}, Judge: resolver(dropsTheFirst)},
		"want another ID than 0x1717":               {Fixture: dnsfault.NXDomain{}, Judge: resolver(forges)},
		"want what is none":                         {Fixture: dnsfault.NXDomain{}, Judge: resolver(talksNonsense)},

		"a handshake was to fail otherwise, and returned no error": {Fixture: tlsfault.OverTLS{}, Judge: on(failsHandshake(isEOF))},
		"a handshake was to fail otherwise, and returned EOF":      {Fixture: tlsfault.Close{}, Judge: on(failsHandshake(isReset))},
		"a handshake should have waited, and returned no error":    {Fixture: tlsfault.OverTLS{}, Judge: on(stallsHandshake)},
		"tls: first record does not look like a TLS handshake":     {Fixture: tlsfault.PlainText{}, Judge: on(echoesSecurely)},

		"a request should have waited, and returned no error": {Fixture: httpfault.OK{}, Judge: on(hangs(http1, 0))},
		"EOF\nEOF":                     {Fixture: fixtures.Close{AfterRead: 5}, Judge: on(answersRequests(http1))},
		"a header's beginning took 0s": {Fixture: httpfault.OK{}, Judge: on(dripsHeader)},
		"unexpected EOF":               {Fixture: httpfault.Close{At: httpfault.MidBody, AfterWritten: 1}, Judge: on(sendsNoEndOfHeader)},
		`read "HTTP/1.1 417 ", want "HTTP/1.1 200 "`:                     {Fixture: httpfault.RejectBody{}, Judge: on(rejects(200))},
		`reading "...", got "ok"`:                                        {Fixture: httpfault.OK{}, Judge: on(answersInPart(conn.silent))},
		"a chunk should have been cut short, and reading it":             {Fixture: httpfault.RejectBody{}, Judge: on(cutsChunk)},
		`want "" and FIN`:                                                {Fixture: httpfault.OK{}, Judge: on(closesOnReuse)},
		"a PING should not have been answered":                           {Fixture: httpfault.OK{}, Judge: on(answersNoPing)},
		"1 connections; want 2 or more":                                  {Fixture: httpfault.OK{}, Judge: on(sendsAway)},
		"a stream should have been reset, and a request returned no err": {Fixture: httpfault.OK{}, Judge: on(resetsStream)},

		"connection 1 of 1: a read should have waited, and returned 0, EOF": client(halfCloses, on(hears(1, "hello"))),
		"connection 1 of 1: a read should have been reset, and returned no": client(halfCloses, on(suffersReset)),
		`connection 1 of 1: read "hello", want "world"`:                     client(halfCloses, on(hears(1, "world"))),
		`connection 1 of 1: reading "220 "`:                                 client(func(s string) hostile.Fixture { return hostile.ConnectOnly{Target: s} }, on(begins("220 "))),
		`connection 1 of 1: read "hello" and then`:                          client(func(s string) hostile.Fixture { return hostile.Reset{Target: s, Data: "hello"} }, on(answersAfterFIN)),
		"a request took 0s":                                             client(halfCloses, on(hearsSlowly)),
		"connection 1 of 1: a write was to block":                       client(func(s string) hostile.Fixture { return hostile.Slowloris{Target: s, Every: time.Hour} }, on(cannotWrite)),
		`connection 1 of 1: read "hullo", want "hello"`:                 client(func(s string) hostile.Fixture { return hostile.HalfClose{Target: s, Data: "hullo"} }, on(converses)),
		`connection 1 of 1: reading "hello", got "": tls: first record`: client(halfCloses, on(speaksTLS("hello"))),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
				defer cancel()
				e, err := r.Start(ctx, fixtures.Place{Stack: simnet.New(t)})
				require.NoError(t, err)
				_, err = r.Judge(ctx, e)
				assert.ErrorContains(t, err, want)
				assert.NoError(t, e.Close())
			})
		})
	}
}
