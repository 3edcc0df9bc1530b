package checkpoint_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// TestDisk saves on the real file system through the stage and lists, follows and loads.
func TestDisk(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	if _, err := checkpoint.Latest(checkpoint.Disk{}, root); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("empty folder: %v, want ErrNone", err)
	}
	w := checkpoint.Writer{FS: checkpoint.Disk{}, Dir: root, Options: checkpoint.Options{Keep: 2}}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, step := range []int{10, 20, 9, 30} {
		saved, err := w.Run(cancelled, state(step))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(saved.Path, checkpoint.StateFile))
		if want := int64(4*300 + 8 + 4*100 + len(text)); err != nil || saved.Bytes != want || saved.Step != step || saved.Took <= 0 {
			t.Errorf("%+v, want step %d and %d bytes, %v", saved, step, want, err)
		}
	}
	list, err := checkpoint.List(checkpoint.Disk{}, root)
	if err != nil || len(list) != 2 || list[0].Step != 20 || list[1].Step != 30 {
		t.Fatalf("list %v, %v", list, err)
	}
	path, err := checkpoint.Latest(checkpoint.Disk{}, root)
	if err != nil || path != list[1].Path {
		t.Fatalf("latest %s, %v", path, err)
	}
	s, err := checkpoint.Load(checkpoint.Disk{}, path)
	if err != nil || !equalStates(s, state(30)) {
		t.Fatalf("%v", err)
	}
	if x := s.Tensor("contrast/memory"); x == nil || x.At(1) != 30001 {
		t.Errorf("contrast/memory = %v", x)
	}
	if _, err := checkpoint.Load(checkpoint.Disk{}, filepath.Join(root, "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("absent: %v", err)
	}
}

// TestLatestPointsBack: the pointer wins over the step count, a pointer to nothing does not.
func TestLatestPointsBack(t *testing.T) {
	mem := newMem(t)
	save(t, mem, 30, 0)
	save(t, mem, 20, 0) // a run resumed from an older checkpoint
	latest(t, mem, 20)
	overwrite(t, mem, filepath.Join(dir, "latest"), []byte("step-000000099\n"))
	latest(t, mem, 30)
	overwrite(t, mem, filepath.Join(dir, "latest"), nil)
	latest(t, mem, 30)
	if got := save(t, mem, 30, 0).Path; filepath.Base(got) != "step-000000030.1" {
		t.Errorf("second save of step 30 is %s", got)
	}
}

// TestKeepAfterGoingBack: a run that resumes from step 10 and saves 15 keeps what it made, not the future it left.
func TestKeepAfterGoingBack(t *testing.T) {
	mem := newMem(t)
	var got []string
	for _, step := range []int{10, 20, 30, 15, 16} {
		save(t, mem, step, 3)
	}
	list, err := checkpoint.List(mem, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		got = append(got, fmt.Sprint(i.Step))
	}
	if s := strings.Join(got, " "); s != "10 15 16" {
		t.Errorf("kept %s, want 10 15 16", s)
	}
}

func TestReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		// root writes anywhere; a file in the folder's place fails for everybody
		path := filepath.Join(t.TempDir(), "run")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := checkpoint.Save(checkpoint.Disk{}, path, state(1), checkpoint.Options{})
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want one line that names %s", err, path)
		}
		return
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := checkpoint.Save(checkpoint.Disk{}, root, state(1), checkpoint.Options{})
	if !errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one line about permission", err)
	}
}

func TestLock(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	a, err := checkpoint.Acquire(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = checkpoint.Acquire(root)
	if !errors.Is(err, checkpoint.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second lock: %v, want ErrInUse and our process", err)
	}
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	b, err := checkpoint.Acquire(root)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	b.Release()
	if err := errors.Join(os.Remove(filepath.Join(root, checkpoint.LockFile)), os.Mkdir(filepath.Join(root, checkpoint.LockFile), 0o755)); err != nil {
		t.Fatal(err)
	}
	if l, err := checkpoint.Acquire(root); err == nil || l != nil {
		t.Errorf("a folder has the lock's name: %v, %v", l, err)
	}
	taken := filepath.Join(filepath.Dir(root), "file")
	if err := os.WriteFile(taken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if l, err := checkpoint.Acquire(taken); err == nil || l != nil || !strings.Contains(err.Error(), "no run folder can be made there") {
		t.Errorf("a file has the folder's name: %v, %v", l, err)
	}
}

// A lock is of the folder that has the name now, not of one that was moved away while it was taken.
func TestLockOfTheMoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	var stop atomic.Bool
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 0; !stop.Load(); n++ {
			if a, err := checkpoint.Acquire(root); err == nil {
				if err := os.Rename(root, fmt.Sprint(root, n)); err != nil {
					t.Error(err)
				}
				a.Release()
			}
		}
	})
	for range 2000 {
		a, err := checkpoint.Acquire(root)
		if err != nil {
			continue
		}
		if b, err := checkpoint.Acquire(root); err == nil {
			t.Error("the folder is taken twice")
			b.Release()
			a.Release()
			break
		}
		a.Release()
	}
	stop.Store(true)
	wait.Wait()
}

// TestLockOfTheDead starts a process that takes the lock and kills it: the folder must be refused before and free after.
func TestLockOfTheDead(t *testing.T) {
	if root := os.Getenv("CHECKPOINT_TEST_HOLD"); root != "" {
		if _, err := checkpoint.Acquire(root); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
	}
	root := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfTheDead$")
	cmd.Env = append(os.Environ(), "CHECKPOINT_TEST_HOLD="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	if _, err := checkpoint.Acquire(root); !errors.Is(err, checkpoint.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("while the child lives: %v, want ErrInUse and process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // its error is the kill
	l, err := checkpoint.Acquire(root)
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	l.Release()
}
