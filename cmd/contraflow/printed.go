package main

import (
	"os"
	"sync"
)

// printed is the standard output of a command. It keeps the first error of a write, which ends the command with exit code 1 when all
// else went well, so that no command looks at each line it prints.
type printed struct {
	to *os.File

	lock sync.Mutex
	err  error
}

func (p *printed) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.err == nil {
		p.err = err
	}
	return n, err
}

// failed is the first error of a write.
func (p *printed) failed() error {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.err
}
