// Package argument checks what callers pass. It imports nothing of the project.
package argument

import "reflect"

// IsNil reports whether x is a nil interface, or a nil pointer inside one, such as a nil
// *testing.T.
func IsNil(x any) bool {
	v := reflect.ValueOf(x)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Exclusive reports whether a test has the process to itself, and keeps it so, as the environment
// variable key says until the test ends. Only Setenv of package testing knows: it panics in a test
// that is parallel, or under one that is.
func Exclusive(t interface{ Setenv(key, value string) }, key, value string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	t.Setenv(key, value)
	return true
}
