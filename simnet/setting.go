package simnet

import "slices"

// A setting is what those who have changed it, and not undone that, have made of it: the latest of them counts. The zero
// setting is the zero value.
type setting[T any] struct{ changes []*T }

func (s *setting[T]) value() (v T) {
	if last := len(s.changes) - 1; last >= 0 {
		v = *s.changes[last]
	}
	return v
}

// set changes it until undo is called, which may be called in any order.
func (s *setting[T]) set(v T) (undo func()) {
	change := &v
	s.changes = append(s.changes, change)
	return func() {
		s.changes = slices.DeleteFunc(s.changes, func(c *T) bool { return c == change })
	}
}
