// Package peertest lets tests ask Python's libraries what they make of our files, and what they write.
//
// It is /usr/bin/python3, Debian's, unless PYTHON names another: with PYTHON every test runs against another version of PyTorch.
package peertest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Python is the interpreter.
func Python() string {
	if p := os.Getenv("PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

// Needs skips the test, or fails it, as Run does, before work is done that only the module can judge. It does not import the module, which
// takes PyTorch seconds.
func Needs(t *testing.T, module string) {
	t.Helper()
	Run(t, module, "-c", "import importlib.util, sys; importlib.util.find_spec(sys.argv[1]) or sys.exit(f'No module named {sys.argv[1]!r}')", module)
}

// Run is what Python prints for some arguments. Without the module, or without Python, the test is skipped with a message; where CI is set
// it fails: there it has to be installed.
func Run(t *testing.T, module string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(Python(), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err == nil {
		return text
	}
	absent := strings.Contains(stderr.String(), "No module named '"+module+"'") || errors.Is(err, os.ErrNotExist)
	if absent && os.Getenv("CI") == "" {
		t.Skipf("NOT CHECKED against %s: %s cannot import it (Debian: apt install python3-%[1]s)", module, Python())
	}
	t.Fatalf("%s %.60q: %v\n%s", Python(), args, err, &stderr)
	return nil
}
