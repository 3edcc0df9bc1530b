package shard_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contraflow/contraflow/io/shard"
)

// host serves a folder, fails every so-many-th request, but none of the same bytes more than twice, and counts.
type host struct {
	dir      string
	every    int64
	failed   sync.Map // how often, by path and range
	requests atomic.Int64
	bytes    atomic.Int64
	whole    bool
	status   atomic.Int32
	torn     atomic.Bool  // bodies break off
	cut      atomic.Bool  // answers break off in their header
	down     atomic.Int64 // requests that fail before the others do not
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := h.requests.Add(1)
	if h.every > 0 && n%h.every < 2 {
		times, _ := h.failed.LoadOrStore(r.URL.Path+r.Header.Get("Range"), new(atomic.Int32))
		switch {
		case times.(*atomic.Int32).Add(1) > 2: // several workers may meet the failures of each other's turns
		case n%h.every == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		default:
			panic(http.ErrAbortHandler)
		}
	}
	if s := h.status.Load(); s != 0 {
		w.WriteHeader(int(s))
		return
	}
	if h.down.Add(-1) >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if h.cut.Load() {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		c.Write([]byte("HTTP/1.1 206 Partial Content\r\n"))
		c.Close()
		return
	}
	if h.torn.Load() {
		w.Header().Set("Content-Range", "bytes "+strings.TrimPrefix(r.Header.Get("Range"), "bytes=")+"/100000")
		w.Header().Set("Content-Length", "50")
		w.WriteHeader(http.StatusPartialContent)
		w.Write([]byte("half"))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if h.whole {
		r.Header.Del("Range")
	}
	http.ServeFile(&counting{w, h}, r, filepath.Join(h.dir, filepath.Base(r.URL.Path)))
}

type counting struct {
	http.ResponseWriter
	h *host
}

func (c *counting) Write(p []byte) (int, error) {
	c.h.bytes.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func serve(t *testing.T, h *host) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// What was packed is read from a server that fails now and then, by several workers, and only the bytes that are needed.
func TestRemote(t *testing.T) {
	h := &host{dir: written(t, 60), every: 7}
	url := serve(t, h)
	s := open(t, url+"/data", "train")
	before := h.bytes.Load()
	same(t, s, 60, 0, func(i int) int { return i % 3 })
	want := int64(0)
	for i := range 60 {
		want += int64(len(image(i)))
	}
	if got := h.bytes.Load() - before; got > want+want/2 {
		t.Errorf("%d bytes were sent for images of %d", got, want)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < 60; i += 4 {
				if b, err := s.Read(ctx, i, nil); err != nil || string(b) != string(image(i)) {
					t.Errorf("sample %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if name := s.Name(0); name != url+"/data/train-000000.tar:ant/00000000_pic.jpg" {
		t.Errorf("sample 0 is %s", name)
	}
	for k := range s.Shards() {
		if name, compared, err := s.VerifyShard(ctx, k); err != nil || !compared {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Shards of others have no index: the headers are read once, and the next time not at all.
func TestRemoteForeign(t *testing.T) {
	dir := t.TempDir()
	plain := foreign(t, tar.FormatPAX, pairs(9, 0, func(i int) string { return fmt.Sprint(i % 2) })...)
	os.WriteFile(filepath.Join(dir, "a-0.tar"), plain, 0o644)
	os.WriteFile(filepath.Join(dir, "b-0.tar.zst"), compressed(t, ".zst", plain), 0o644)
	h := &host{dir: dir}
	url := serve(t, h)
	for _, name := range []string{"/a-{0..0}.tar?token=secret", "/b-0.tar.zst"} {
		s := open(t, url+name, "train")
		same(t, s, 9, 0, func(i int) int { return i % 2 })
		if strings.Contains(s.Name(0), "secret") {
			t.Errorf("a secret is shown: %s", s.Name(0))
		}
		before := h.bytes.Load()
		open(t, url+name, "train")
		if n := h.bytes.Load() - before; n > 1 {
			t.Errorf("%s: opening again took %d bytes", name, n)
		}
	}
}

func TestRemoteMistakes(t *testing.T) {
	dir := written(t, 10)
	h := &host{dir: dir}
	url := serve(t, h)
	check := func(what, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	s := open(t, url+"/data", "train")
	for _, status := range []int32{404, 403, 500} {
		h.status.Store(status)
		_, err := s.Read(ctx, 0, nil)
		check("a read", fmt.Sprint("the server answers ", status), err)
		_, err = shard.Open(ctx, url+"/data", "train")
		check("opening", "/data/shards.json: the server answers "+fmt.Sprint(status), err)
	}
	h.status.Store(0)
	if _, err := s.Read(ctx, 0, nil); err != nil {
		t.Error(err)
	}
	os.Truncate(filepath.Join(dir, "train-000000.tar"), 3000)
	_, err := s.Read(ctx, 1, nil)
	check("a file that shrinks", "changed since it was opened", err)
	_, err = open(t, url+"/data", "train").Read(ctx, 3, nil)
	check("a truncated shard", "truncated", err)
	os.WriteFile(filepath.Join(dir, "empty.tar"), nil, 0o644)
	_, err = shard.Open(ctx, url+"/empty.tar", "train")
	check("an empty shard", "/empty.tar: the file on the server is empty", err)
	h.status.Store(http.StatusRequestedRangeNotSatisfiable)
	_, err = shard.Open(ctx, url+"/train-000001.tar", "train")
	check("not a byte", "/train-000001.tar: the file on the server is empty", err)
	h.status.Store(0)
	os.WriteFile(filepath.Join(dir, "shards.json"), []byte("<html>please log in</html>"), 0o644)
	_, err = shard.Open(ctx, url+"/data", "train")
	check("a page in the manifest's place", "/data/shards.json: not a manifest of contraflow data pack: ", err)
	h.whole = true
	_, err = shard.Open(ctx, url+"/train-000001.tar", "train")
	check("no ranges", "shards need a server that answers range requests", err)
	h.whole = false
	_, err = shard.Open(ctx, "http://127.0.0.1:1/x.tar", "train")
	check("nobody there", "http://127.0.0.1:1/x.tar: ", err)
}

// A server that is down for a while is waited for, as long as the context allows. One that stays away says nothing about the sample.
func TestRemoteOutage(t *testing.T) {
	h := &host{dir: written(t, 10)}
	url := serve(t, h)
	s := open(t, url+"/data", "train")
	restore := shard.SetPatience(time.Minute)
	h.down.Store(8)
	if b, err := s.Read(ctx, 0, nil); err != nil || string(b) != string(image(0)) {
		t.Errorf("after an outage: %v", err)
	}
	h.status.Store(503)
	stopped, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.Read(stopped, 0, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("stopped during an outage: %v after %v", err, time.Since(began))
	}
	restore()
	gone := func(what string, want bool) {
		t.Helper()
		_, err := s.Read(ctx, 0, nil)
		if u := (*shard.UnreachableError)(nil); err == nil || errors.As(err, &u) != want || strings.Contains(err.Error(), "truncated") == want {
			t.Errorf("%s: got %v", what, err)
		}
	}
	gone("an outage without end", true)
	h.status.Store(403)
	before := h.requests.Load()
	gone("a refusal", true)
	if n := h.requests.Load() - before; n != 1 {
		t.Errorf("a refused request was made %d times", n)
	}
	h.status.Store(0)
	s = open(t, url+"/data", "train")
	h.torn.Store(true)
	gone("an answer that breaks off", true)
	if _, err := shard.Open(ctx, url+"/train-000000.tar", "train"); err == nil || strings.Contains(err.Error(), "damaged") {
		t.Errorf("opening: got %v", err)
	}
	h.torn.Store(false)
	h.cut.Store(true)
	gone("a header that breaks off", true)
	h.cut.Store(false)
	os.Truncate(filepath.Join(h.dir, "train-000000.tar"), 300)
	s = open(t, url+"/data", "train")
	gone("a truncated shard", false)
}

// A slow server is not a failing one: an attempt ends when nothing comes for a while, not when much takes long.
func TestRemoteSlow(t *testing.T) {
	defer shard.SetStall(200 * time.Millisecond)()
	dir := written(t, 4)
	var stop atomic.Bool
	url := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(&trickling{w, &stop}, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
	}))
	defer url.Close()
	s := open(t, url.URL+"/data", "train")
	if b, err := s.Read(ctx, 0, nil); err != nil || string(b) != string(image(0)) {
		t.Errorf("a slow answer: %v", err)
	}
	stop.Store(true)
	if _, err := s.Read(ctx, 0, nil); err == nil || !strings.Contains(err.Error(), "nothing has come for 200ms") {
		t.Errorf("an answer that stops: %v", err)
	}
}

// trickling sends a body in eight parts over half a second, or stops after the first.
type trickling struct {
	http.ResponseWriter
	stop *atomic.Bool
}

func (w *trickling) Write(p []byte) (int, error) {
	for k := range 8 {
		if k > 0 && w.stop.Load() {
			time.Sleep(400 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}
		if n, err := w.ResponseWriter.Write(p[len(p)*k/8 : len(p)*(k+1)/8]); err != nil {
			return n, err
		}
		http.NewResponseController(w.ResponseWriter).Flush()
		time.Sleep(60 * time.Millisecond)
	}
	return len(p), nil
}
