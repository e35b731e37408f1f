package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const overlayFlag = "-overlay="

// ownOverlay reads the overlay that GOFLAGS names, so that it can be merged. If that is one of ours
// below dir, it is the one that was merged there.
func ownOverlay(goflags, dir string) (replace map[string]string, path string, err error) {
	for _, flag := range splitFlags(goflags) {
		if p, ok := strings.CutPrefix(strings.Replace(flag, "--", "-", 1), overlayFlag); ok {
			path = p
		}
	}
	if path != "" && within(path, dir) {
		own, err := readOverlay(path)
		if err != nil { // it was deleted; nothing of it is needed but what it merged
			return nil, "", fmt.Errorf("GOFLAGS has %s%s: %w; unset it and try again", overlayFlag, path, err)
		}
		path = own.From
	}
	if path == "" {
		return map[string]string{}, "", nil
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, "", err
	}
	own, err := readOverlay(path)
	if err != nil {
		return nil, "", fmt.Errorf("GOFLAGS has %s%s: %w", overlayFlag, path, err)
	}
	replace = map[string]string{}
	for from, to := range own.Replace { // relative to where the go command runs
		if from, err = filepath.Abs(from); err != nil {
			return nil, "", err
		}
		if to != "" { // else the file is to vanish
			if to, err = filepath.Abs(to); err != nil {
				return nil, "", err
			}
		}
		replace[from] = to
	}
	return replace, path, nil
}

func readOverlay(path string) (o overlayFile, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(text, &o)
}

// splitFlags splits GOFLAGS as the go command does: at spaces, except within quotes around a flag.
func splitFlags(s string) (flags []string) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		end := " \t\n\r"
		if s[0] == '\'' || s[0] == '"' {
			end, s = s[:1], s[1:]
		}
		i := strings.IndexAny(s, end)
		if i < 0 {
			return append(flags, s)
		}
		flags, s = append(flags, s[:i]), s[i+1:]
	}
	return flags
}

// withOverlay returns GOFLAGS with an overlay in place of what it had.
func withOverlay(goflags, path string) string {
	flags := slices.DeleteFunc(splitFlags(goflags), func(f string) bool {
		return strings.HasPrefix(strings.Replace(f, "--", "-", 1), overlayFlag)
	})
	flags = append(flags, overlayFlag+path)
	for i, f := range flags {
		if strings.ContainsAny(f, " \t\n\r") {
			quote := `"`
			if strings.Contains(f, quote) {
				quote = "'"
			}
			flags[i] = quote + f + quote
		}
	}
	return strings.Join(flags, " ")
}
