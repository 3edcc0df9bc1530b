package encoders

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// registered are the models that programs add; the commands and their files know them by name like the built-in ones.
var registered = struct {
	sync.RWMutex
	of map[string]func(out int) Model
}{of: map[string]func(out int) Model{}}

// Register adds a model of one's own under a name that --model, checkpoints and Lookup then know, for as long as the program
// runs: call it at the start of main, and again in every program that reads the checkpoints. build gets the dimension of the
// embedding; the name it returns is replaced. It panics when the name is empty or taken, as a mistake of the program.
//
// The network's last mark is its embedding; the one before is what probes and kNN read by default.
func Register(name string, build func(out int) Model) {
	if name == "" || build == nil {
		panic("encoders: Register needs a name and a function")
	}
	if _, err := Lookup(name, 1); err == nil {
		panic(fmt.Sprintf("encoders: there is a model %q already", name))
	}
	registered.Lock()
	defer registered.Unlock()
	registered.of[name] = build
}

// own finds a registered model.
func own(name string, out int) (Model, bool) {
	registered.RLock()
	build := registered.of[name]
	registered.RUnlock()
	if build == nil {
		return Model{}, false
	}
	m := build(out)
	m.Name = name
	if m.ProbeLayer == 0 {
		m.ProbeLayer = m.Net.Layers() - 1
	}
	return m, true
}

// ownNames lists the registered models in order.
func ownNames() []string {
	registered.RLock()
	defer registered.RUnlock()
	return slices.Sorted(maps.Keys(registered.of))
}
