// Std runs tests of the standard library on a simulated network, in place of the kernel's loopback:
// they know more of package net than anybody. It fails if a test fails that expected does not name,
// or if one passes that expected does.
//
//	go run ./.ci/std [package...]
//
// The whole test binary is on one network. To that end package simnet and what it imports become
// part of the standard library, by an overlay. It takes minutes of processor time.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A suite is the tests of one package.
type suite struct {
	pkg, run string
	loopback bool              // it needs the kernel's too, for raw sockets and to see that there is IPv6
	expected map[string]string // tests that fail, and why
}

// ours is where our packages are in the GOROOT. A first element without a dot is Go's own.
const module, ours = "example.com/go-sockettest/", "sockettest/"

// install puts the whole process on a network.
const install = `package install

import (
	"fmt"

	"sockettest/simnet"
)

type whole struct{}

func (whole) Helper()                       {}
func (whole) Failed() bool                  { return false }
func (whole) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (whole) Logf(string, ...any)           {}
func (whole) Cleanup(func())                {}

func init() { simnet.New(nil).Intercept(whole{}) }
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "std:", err)
		os.Exit(1)
	}
}

func run(only []string) error {
	tmp, err := os.MkdirTemp("", "std-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	overlay, err := merged(tmp)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range suites {
		if len(only) == 0 || slices.Contains(only, s.pkg) {
			failed = errors.Join(failed, s.test(overlay))
		}
	}
	return failed
}

// merged adds our packages and an import of install to the overlay of package net.
func merged(tmp string) (string, error) {
	path, err := output("go", "run", "./cmd/sockettest", "overlay")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(strings.TrimSpace(path))
	if err != nil {
		return "", err
	}
	var all struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &all); err != nil {
		return "", err
	}
	files, err := sources()
	if err != nil {
		return "", err
	}
	for _, s := range suites {
		_, name := filepath.Split(s.pkg)
		files[s.pkg+"/zz_sockettest_test.go"] = "package " + name + "_test\n\nimport _ \"sockettest/install\"\n"
	}
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	for name, text := range files {
		to := filepath.Join(tmp, filepath.FromSlash(strings.ReplaceAll(name, "/", "+")))
		if err := os.WriteFile(to, []byte(text), 0o666); err != nil {
			return "", err
		}
		all.Replace[filepath.Join(strings.TrimSpace(goroot), "src", filepath.FromSlash(name))] = to
	}
	if text, err = json.Marshal(all); err != nil {
		return "", err
	}
	path = filepath.Join(tmp, "overlay.json")
	return path, os.WriteFile(path, text, 0o666)
}

// sources returns our files by their names in the GOROOT.
func sources() (map[string]string, error) {
	list, err := output("go", "list", "-deps", "-f", `{{if not .Standard}}{{range .GoFiles}}{{$.Dir}} {{$.ImportPath}} {{.}}{{"\n"}}{{end}}{{end}}`, "./simnet")
	if err != nil {
		return nil, err
	}
	files := map[string]string{ours + "install/install.go": install}
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasPrefix(f[1], module) {
			continue // golang.org/x/net is among Go's own
		}
		text, err := os.ReadFile(filepath.Join(f[0], f[2]))
		if err != nil {
			return nil, err
		}
		files[ours+strings.TrimPrefix(f[1], module)+"/"+f[2]] = strings.ReplaceAll(string(text), `"`+module, `"`+ours)
	}
	return files, nil
}

// outcome is a line of go test -v.
var outcome = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+)`)

// test runs the tests of a package, and compares.
func (s suite) test(overlay string) error {
	cmd := exec.Command("go", "test", "-overlay="+overlay, "-vet=off", "-short", "-count=1", "-v", "-timeout=5m",
		"-run="+s.run, s.pkg)
	if !s.loopback && exec.Command("unshare", "-n", "true").Run() == nil {
		cmd.Args = slices.Insert(cmd.Args, 2, "-exec=unshare -n")
	}
	out, err := cmd.CombinedOutput()
	count, failed := map[string]int{}, map[string]bool{}
	for _, m := range outcome.FindAllSubmatch(out, -1) {
		count[string(m[1])]++
		if name := string(m[2]); string(m[1]) == "FAIL" && !strings.Contains(name, "/") {
			failed[name] = true
		}
	}
	fmt.Printf("%s: %d pass, %d fail, %d are skipped, subtests included\n", s.pkg, count["PASS"], count["FAIL"], count["SKIP"])
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		if s.expected[name] == "" {
			bad = append(bad, name+" fails")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.expected)) {
		fmt.Printf("\t%s: %s\n", name, s.expected[name])
		if !failed[name] {
			bad = append(bad, name+" does not fail any more")
		}
	}
	if ended := bytes.Contains(out, []byte("\nFAIL\t")) || bytes.Contains(out, []byte("\nok  \t")); !ended || count["PASS"] == 0 || err != nil && len(failed) == 0 {
		bad = append(bad, cmp.Or(fmt.Sprint(err), "nothing ran"))
	}
	if len(bad) == 0 {
		return nil
	}
	_, _ = os.Stdout.Write(out)
	return fmt.Errorf("%s: %s", s.pkg, strings.Join(bad, "; "))
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %s", name, strings.Join(args, " "), exit.Stderr)
	}
	return string(out), err
}
