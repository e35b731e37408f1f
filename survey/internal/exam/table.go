package exam

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"example.com/go-sockettest/fixtures"
	"example.com/go-sockettest/fixtures/tlsfault"
)

// A Client is what is examined.
type Client struct {
	Name   string // as the table has it: "pgx"
	Module string // "github.com/jackc/pgx/v5"

	// Peer is a server that behaves, which stands in for the fixtures of all cases in a disarmed run; nil leaves it to them.
	Peer fixtures.Fixture
}

// OverTLS is the client with its peer over TLS.
func (c Client) OverTLS() Client {
	c.Peer = tlsfault.OverTLS{Then: c.Peer}
	return c
}

// Honest says of a fixture, such as a Scripted, that it behaves.
func Honest(f fixtures.Fixture) fixtures.Fixture { return honest{f} }

type honest struct{ fixtures.Fixture }

// Plan is that of the fixture.
func (f honest) Plan() (fixtures.Plan, error) {
	p, err := f.Fixture.Plan()
	p.Behaves, p.Instead = true, nil
	return p, err
}

// fixture is what a case is run on. One that has a stand-in of its own keeps it.
func (c Case) fixture(client Client) fixtures.Fixture {
	if _, own := c.Fixture.(fixtures.StandIn); own || client.Peer == nil {
		return c.Fixture
	}
	return fixtures.StandIn{Then: c.Fixture, Instead: client.Peer}
}

// row writes a case as README.md has it.
func (c Case) row(client Client) string {
	where := "kernel, simnet"
	switch {
	case c.KernelOnly != "":
		where = "kernel"
	case c.SimnetOnly != "":
		where = "simnet"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", client.Name, version(client.Module), c.Name, c.Knob, c.Want, where)
}

// tabled fails the test if README.md does not tell of a case, or tells something else.
func (c Case) tabled(t *testing.T, client Client) {
	t.Helper()
	if client.Module == "" {
		return
	}
	text, err := readme()
	if err != nil {
		t.Fatalf("the table of what is found: %v", err)
	}
	if row := c.row(client); !strings.Contains(text, row+"\n") {
		t.Errorf("../README.md lacks the row:\n%s", row)
	}
}

// readme is the text of survey/README.md, seen from the directory of a client.
var readme = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("../README.md")
	return string(b), err
})

// version finds the version of a module in survey/go.mod.
func version(module string) string {
	b, err := os.ReadFile("../go.mod")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == module {
			return f[1]
		}
	}
	return "not in go.mod"
}
