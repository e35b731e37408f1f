package sweep

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/go-sockettest/internal/page"
)

var browser = flag.String("browser", "", "the browser that opens the page, such as chromium; empty means that none does")

//go:embed testdata/browser.js
var inBrowser string

// In a real browser the page draws what it counts, asks for nothing, obeys keys and the mouse, fits
// a telephone, and runs no script that came with the bytes.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	if *browser == "" {
		t.Skip("no browser: go test ./sweep -run TestPageInBrowser -browser chromium")
	}
	p, counts := hostilePage()
	var b bytes.Buffer
	require.NoError(t, page.Write(&b, p))
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		text := b.String()
		if r.URL.Path == "/frames" {
			text = `<!doctype html><link rel=icon href=data:,><iframe width=400 height=800 src=/map></iframe><iframe width=1280 height=800 src=/map></iframe><pre></pre><script>` +
				inBrowser + `</script>`
		}
		_, _ = w.Write([]byte(text))
	}))
	defer srv.Close()
	out, err := exec.CommandContext(t.Context(), *browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--window-size=1400,1700", "--timeout=60000", "--dump-dom", srv.URL+"/frames").Output()
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(out), "<pre>")
	text, _, _ = strings.Cut(text, "</pre>")
	var got struct {
		Errors        []string
		Legend, Drawn map[string]int
		Resources     int
		Alerts        int
		Overflow      []int
		Keys, Hover   string
		Linked        bool
		Command       string
		Visible       bool
		Alone         string
	}
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(text)), &got), "%s", out)
	assert.Empty(t, got.Errors)
	assert.Equal(t, counts, got.Legend)
	assert.Equal(t, counts, got.Drawn)
	assert.Zero(t, got.Resources)
	assert.Zero(t, got.Alerts)
	assert.Equal(t, []int{0, 0}, got.Overflow)
	assert.Equal(t, "every/conn_2/answer/byte_3/e", got.Keys)
	assert.Contains(t, got.Hover, "before byte 5 of")
	assert.True(t, got.Linked)
	assert.True(t, got.Visible)
	assert.Equal(t, "0.13 1", got.Alone)
	assert.Equal(t, "go test -run '^TestX$/^every$/^conn_2$/^answer$/^byte_1$/^b$'", got.Command)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"/frames", "/map", "/map"}, asked)
}
