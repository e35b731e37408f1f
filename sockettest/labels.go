package sockettest

import (
	"context"
	"runtime/pprof"
	"unsafe"
)

// profLabels returns the labels of the calling goroutine, as [pprof.SetGoroutineLabels] left them
// there; nil for none. Package pprof has no function for it; the runtime promises to keep this one
// (runtime/proflabel.go).
//
//go:linkname profLabels runtime/pprof.runtime_getProfLabel
func profLabels() unsafe.Pointer

// A labelSpy is a context that notes by what key package pprof looks for labels in it.
type labelSpy struct {
	context.Context
	key any
}

func (s *labelSpy) Value(key any) any {
	s.key = key
	return nil
}

// pprofKey is the key by which a context has labels, and someLabels a value of the type that it has
// them in.
var pprofKey, someLabels = func() (key, some any) {
	spy := &labelSpy{Context: context.Background()}
	pprof.Label(spy, "")
	return spy.key, pprof.WithLabels(context.Background(), pprof.Labels("some", "labels")).Value(spy.key)
}()

// withOwnLabels returns a context that has the labels of the calling goroutine: pprof.Do and its
// like keep them for whoever goes by it.
func withOwnLabels(ctx context.Context) context.Context {
	labels := someLabels // a pointer of package pprof's own type, in an interface
	(*[2]unsafe.Pointer)(unsafe.Pointer(&labels))[1] = profLabels()
	return context.WithValue(ctx, pprofKey, labels)
}

// ownLabel returns the label of the watch that the calling goroutine belongs to; empty for none.
func ownLabel() string {
	if profLabels() == nil {
		return ""
	}
	value, _ := pprof.Label(withOwnLabels(context.Background()), labelKey)
	return value
}
