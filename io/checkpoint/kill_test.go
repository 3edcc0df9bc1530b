package checkpoint_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// TestKill runs a process that does nothing but save to the disk, kills it at five moments, and each time loads
// what "latest" names: at least the last step that the process reported as saved.
func TestKill(t *testing.T) {
	if root := os.Getenv("CHECKPOINT_TEST_SAVE"); root != "" {
		saveForever(root)
	}
	root := filepath.Join(t.TempDir(), "run")
	last := 0
	for i := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "CHECKPOINT_TEST_SAVE="+root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var timer *time.Timer // runs from the first save on: starting a process can take long
		reported := last
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "saved "); ok {
				if reported, err = strconv.Atoi(text); err != nil {
					t.Fatal(err)
				}
				if timer == nil {
					timer = time.AfterFunc(time.Duration(5+17*i)*time.Millisecond, func() { cmd.Process.Kill() })
				}
			} else {
				t.Errorf("the process said %q", lines.Text())
			}
		}
		cmd.Wait() // its error is the kill
		path, err := checkpoint.Latest(checkpoint.Disk{}, root)
		if err != nil {
			t.Fatal(err)
		}
		s, err := checkpoint.Load(checkpoint.Disk{}, path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Step < reported || s.Step > reported+1 || !equalStates(s, state(s.Step)) {
			t.Errorf("kill %d: latest is step %d, the process had reported %d", i, s.Step, reported)
		}
		if s.Step == last {
			t.Errorf("kill %d: nothing was saved", i)
		}
		last = s.Step
	}
}

// saveForever goes on from the latest checkpoint.
func saveForever(root string) {
	lock, err := checkpoint.Acquire(root)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer lock.Release()
	step := 0
	if path, err := checkpoint.Latest(checkpoint.Disk{}, root); err == nil {
		s, err := checkpoint.Load(checkpoint.Disk{}, path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		step = s.Step
	}
	for {
		step++
		if _, err := checkpoint.Save(checkpoint.Disk{}, root, state(step), checkpoint.Options{Keep: 2}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("saved %d\n", step)
	}
}
