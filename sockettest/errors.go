package sockettest

import (
	"fmt"
	"reflect"
)

// The errors of the code under test may be of any kind. These are the bounds of a walk through what
// one wraps.
const (
	maxDepth  = 100
	maxErrors = 10_000
)

// safely runs f, and reports whether it returned: the method of an error may panic, as that of a
// nil pointer does.
func safely(f func()) (ok bool) {
	defer func() {
		if !ok {
			_ = recover()
		}
	}()
	f()
	return true
}

// unwrap returns what an error wraps itself.
func unwrap(err error) (list []error) {
	safely(func() {
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			list = e.Unwrap()
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				list = []error{inner}
			}
		}
	})
	return list
}

// matches is errors.Is within the bounds of a walk.
func matches(err, target error) bool {
	left := maxErrors
	var find func(err error, depth int) bool
	find = func(err error, depth int) (found bool) {
		if left--; err == nil || depth == 0 || left < 0 {
			return false
		}
		safely(func() { found = err == target })
		if is, ok := err.(interface{ Is(error) bool }); ok && !found {
			safely(func() { found = is.Is(target) })
		}
		for _, inner := range unwrap(err) {
			if found || left < 0 {
				break
			}
			found = find(inner, depth-1)
		}
		return found
	}
	return find(err, maxDepth)
}

// errorText is what an error says. If it wraps itself its text may not end, and is not asked for.
func errorText(err error) string {
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Sprintf("(a nil pointer, which is not a nil error: return nil instead of a nil %T)", err)
	}
	if wrapsItself(err) {
		return "(no text: it wraps itself)"
	}
	text := "(no text: its Error method panics)"
	safely(func() { text = err.Error() })
	return text
}

// wrapsItself reports whether an error wraps itself, at whatever depth.
func wrapsItself(err error) bool {
	left := maxErrors
	var above []error
	var look func(err error) bool
	look = func(err error) (found bool) {
		if left--; err == nil || left < 0 {
			return false
		}
		for _, a := range above {
			if safely(func() { found = a == err }) && found {
				return true
			}
		}
		if len(above) == maxDepth {
			return false
		}
		above = append(above, err)
		defer func() { above = above[:len(above)-1] }()
		for _, inner := range unwrap(err) {
			if left < 0 || look(inner) {
				return left >= 0
			}
		}
		return false
	}
	return look(err)
}
