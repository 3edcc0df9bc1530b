package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pack makes a .tar.gz of files and its sum.
func pack(t *testing.T, files map[string]string, names ...string) (data []byte, sum string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[n])
	}
	w.Close()
	z.Close()
	return b.Bytes(), fmt.Sprintf("%x", md5.Sum(b.Bytes()))
}

// server is a TLS server of one file that breaks off after some bytes of every answer, as long as breaks last.
type server struct {
	data   []byte
	tag    string
	breaks atomic.Int32
	after  int
	asked  []string // Range headers, in order
	status int
	hang   chan struct{}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, r.Header.Get("Range"))
	if s.status != 0 {
		w.WriteHeader(s.status)
		return
	}
	if s.hang != nil {
		<-s.hang
		return
	}
	w.Header().Set("ETag", s.tag)
	if s.breaks.Add(-1) >= 0 {
		w = &breaking{ResponseWriter: w, left: s.after}
	}
	http.ServeContent(w, r, "x.tar.gz", time.Time{}, bytes.NewReader(s.data))
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.ResponseWriter.Write(p[:b.left])
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

func start(t *testing.T, s *server) (*httptest.Server, Options) {
	t.Helper()
	pause = time.Millisecond
	h := httptest.NewUnstartedServer(s)
	h.Config.ErrorLog = nil
	h.StartTLS()
	t.Cleanup(h.Close)
	return h, Options{Client: h.Client()}
}

func example(t *testing.T) (*server, Archive) {
	t.Helper()
	big := strings.Repeat("pixels", 4000) + fmt.Sprint(time.Now().UnixNano())
	noise := make([]byte, 30000)
	for i := range noise {
		noise[i] = byte(i * i * 7 >> 3)
	}
	data, sum := pack(t, map[string]string{"set/a.bin": big, "set/b.bin": string(noise), "../evil": "x", "set/readme": "no"}, "../evil", "set/a.bin", "set/readme", "set/b.bin")
	return &server{data: data, tag: `"one"`}, Archive{MD5: sum, Folder: "set", Files: []File{{"a.bin", int64(len(big))}, {"b.bin", 30000}}}
}

// A download that breaks off three times goes on each time where it stopped, and what is unpacked is only what was asked for.
func TestResumes(t *testing.T) {
	s, a := example(t)
	s.after = len(s.data) / 5
	s.breaks.Store(3)
	h, o := start(t, s)
	a.URL = h.URL + "/x.tar.gz"
	var last, total int64
	o.Progress = func(d, n int64) { last, total = d, n }
	dir := filepath.Join(t.TempDir(), "new")
	folder, err := Get(context.Background(), a, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.asked) != 4 || s.asked[0] != "" {
		t.Fatalf("asked for %q", s.asked)
	}
	for i, r := range s.asked[1:] {
		if want := fmt.Sprintf("bytes=%d-", (i+1)*s.after); r != want {
			t.Errorf("request %d asks for %q, want %q", i+1, r, want)
		}
	}
	if last != int64(len(s.data)) || total != last {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	var names []string
	filepath.Walk(filepath.Dir(dir), func(p string, info os.FileInfo, _ error) error {
		if !info.IsDir() {
			names = append(names, strings.TrimPrefix(p, dir))
		}
		return nil
	})
	if fmt.Sprint(names) != "[/set/a.bin /set/b.bin]" {
		t.Errorf("left behind: %v", names)
	}
	s.asked = nil
	if again, err := Get(context.Background(), a, dir, o); err != nil || again != folder || len(s.asked) != 0 {
		t.Errorf("a second fetch: %v, asked %q", err, s.asked)
	}
	os.Truncate(filepath.Join(folder, "b.bin"), 7)
	if _, err := Get(context.Background(), a, dir, o); err == nil || !strings.Contains(err.Error(), "b.bin: 7 bytes") {
		t.Errorf("a damaged folder: %v", err)
	}
}

// The download of another process goes on; if the file on the server has changed since, it starts anew.
func TestGoesOnLater(t *testing.T) {
	s, a := example(t)
	s.after = len(s.data) / 3
	h, o := start(t, s)
	a.URL = h.URL + "/x.tar.gz"
	for _, tag := range []string{`"one"`, `"two"`} {
		dir := t.TempDir()
		s.tag, s.asked = `"one"`, nil
		s.breaks.Store(1)
		ctx, cancel := context.WithCancel(context.Background())
		o.Progress = func(d, _ int64) {
			if d >= int64(s.after) {
				cancel()
			}
		}
		if _, err := Get(ctx, a, dir, o); err == nil {
			t.Fatal("a cancelled fetch succeeded")
		}
		s.tag = tag
		if _, err := Get(context.Background(), a, dir, o); err != nil {
			t.Fatal(err)
		}
		if got := s.asked[len(s.asked)-1]; !strings.HasPrefix(got, "bytes=") {
			t.Errorf("the second fetch asked for %q", got)
		}
	}
}

func TestRefuses(t *testing.T) {
	defer func(d time.Duration) { silence = d }(silence)
	for name, c := range map[string]struct {
		change func(*server, *Archive)
		want   string
		asked  int
	}{
		"sum":     {func(_ *server, a *Archive) { a.MD5 = strings.Repeat("0", 32) }, "the MD5 sum is", 1},
		"missing": {func(s *server, _ *Archive) { s.status = 404 }, "the server answers 404 Not Found", 1},
		"broken":  {func(s *server, _ *Archive) { s.status = 503 }, "503 Service Unavailable; 5 attempts", 5},
		"silent":  {func(s *server, _ *Archive) { s.hang = make(chan struct{}); silence = 30 * time.Millisecond }, "said nothing", 5},
		"lacks":   {func(_ *server, a *Archive) { a.Files = append(a.Files, File{Name: "c.bin"}) }, "lacks c.bin", 1},
		"size":    {func(_ *server, a *Archive) { a.Files[0].Size++ }, "a.bin: ", 1},
	} {
		s, a := example(t)
		c.change(s, &a)
		h, o := start(t, s)
		a.URL = h.URL + "/x.tar.gz"
		dir := t.TempDir()
		_, err := Get(context.Background(), a, dir, o)
		if s.hang != nil {
			close(s.hang)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "x.tar.gz") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if len(s.asked) != c.asked {
			t.Errorf("%s: %d requests, want %d", name, len(s.asked), c.asked)
		}
		if _, err := os.Stat(filepath.Join(dir, "set")); err == nil {
			t.Errorf("%s: a folder was left", name)
		}
	}
}

// Nobody is led from https to http.
func TestDowngrade(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x.tar.gz", http.StatusFound))
	defer secure.Close()
	_, err := Get(context.Background(), Archive{URL: secure.URL + "/x.tar.gz", Folder: "set"}, t.TempDir(), Options{Client: secure.Client()})
	if err == nil || !strings.Contains(err.Error(), "redirected from https") {
		t.Errorf("got %v", err)
	}
}

// What is already there is not touched: another archive of that name, or a longer part, which is started anew.
func TestLeftovers(t *testing.T) {
	s, a := example(t)
	h, o := start(t, s)
	a.URL = h.URL + "/x.tar.gz"
	dir := t.TempDir()
	file := filepath.Join(dir, "x.tar.gz")
	os.WriteFile(file, []byte("mine"), 0o644)
	if _, err := Get(context.Background(), a, dir, o); err == nil || !strings.Contains(err.Error(), "x.tar.gz exists") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "mine" {
		t.Error("a file was overwritten")
	}
	os.Remove(file)
	os.WriteFile(file+".part", make([]byte, len(s.data)+9), 0o644)
	os.WriteFile(file+".part.tag", []byte(`"one"`), 0o644)
	if _, err := Get(context.Background(), a, dir, o); err != nil {
		t.Error(err)
	}
}
