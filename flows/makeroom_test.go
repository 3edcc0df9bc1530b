package flows

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contraflow/contraflow/io/checkpoint"
)

// A folder is an earlier run's when it has metrics, and also when it only has a checkpoint, as runs through the API leave it.
func TestMakeRoom(t *testing.T) {
	for name, leave := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"metrics": func(dir string) error { return os.WriteFile(filepath.Join(dir, "metrics.jsonl"), nil, 0o644) },
		"checkpoint": func(dir string) error {
			_, err := checkpoint.Save(checkpoint.Disk{}, dir, &checkpoint.State{Step: 4}, checkpoint.Options{})
			return err
		},
	} {
		dir := filepath.Join(t.TempDir(), "a")
		lock, err := checkpoint.Acquire(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := leave(dir); err != nil {
			t.Fatal(err)
		}
		want := ""
		if name != "nothing" {
			want = dir + ".1"
		}
		moved, lock, err := makeRoom(dir, lock)
		if err != nil || moved != want {
			t.Errorf("%s: moved to %q, %v, want %q", name, moved, err, want)
		}
		if _, err := checkpoint.Acquire(dir); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: the new folder is not held: %v", name, err)
		}
		lock.Release()
	}
}

// While one run makes room, no other gets the name too.
func TestMakeRoomHolds(t *testing.T) {
	root := t.TempDir()
	for i := range 40 {
		dir := filepath.Join(root, string(rune('A'+i)))
		lock, err := checkpoint.Acquire(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var other *checkpoint.Lock
		var began, stop atomic.Bool
		var wait sync.WaitGroup
		wait.Go(func() {
			for !stop.Load() && other == nil {
				other, _ = checkpoint.Acquire(dir)
				began.Store(true)
			}
		})
		for !began.Load() {
			time.Sleep(10 * time.Microsecond)
		}
		_, mine, err := makeRoom(dir, lock)
		stop.Store(true)
		wait.Wait()
		if err == nil && other != nil {
			t.Fatalf("two runs hold a folder of one name, after %d tries", i+1)
		}
		for _, l := range []*checkpoint.Lock{mine, other} {
			if l != nil {
				l.Release()
			}
		}
	}
}
