package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// remote is a shard behind an HTTP server.
type remote struct {
	url    string
	client *http.Client

	mu    sync.Mutex
	total int64  // 0: not known yet
	tag   string // entity tag or date that came with the total
	met   bool   // the server has answered before
}

// client keeps a connection for every worker.
var client = sync.OnceValue(func() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	t.ResponseHeaderTimeout = 30 * time.Second
	return &http.Client{Transport: t}
})

const (
	tries   = 4                // the fewest attempts
	longest = 30 * time.Second // pause
)

var (
	// pause is the wait before the second attempt; it doubles.
	pause = 200 * time.Millisecond
	// patience is how long a server that has answered before is asked again. The address of another may be wrong.
	patience = 5 * time.Minute
	// stall is how long an attempt waits for the next bytes.
	stall = time.Minute
)

// UnreachableError is the error of a shard whose bytes its server did not give: it is down, refuses, or has another file now. It says
// nothing about the sample.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Unreachable keeps stages.Decode from taking another image.
func (e *UnreachableError) Unreachable() {}

// name is the address without what may be secret in it.
func (r *remote) name() string { return redact(r.url) }

func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "address"
	}
	secret := u.RawQuery != ""
	u.RawQuery, u.User, u.Fragment = "", nil, ""
	if secret {
		return u.String() + "?…"
	}
	return u.String()
}

func (r *remote) size(ctx context.Context) (int64, error) {
	r.mu.Lock()
	total := r.total
	r.mu.Unlock()
	if total > 0 {
		return total, nil
	}
	var one [1]byte
	if err := r.readAt(ctx, one[:], 0); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("%s: the file on the server is empty: upload it again", r.name())
	} else if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total, nil
}

func (r *remote) identity(ctx context.Context) (string, error) {
	n, err := r.size(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d %s", n, r.tag), err
}

// readAt asks for one range, again if the connection or the server fails.
func (r *remote) readAt(ctx context.Context, p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	r.mu.Lock()
	met := r.met
	r.mu.Unlock()
	err := again(ctx, met, func(ctx context.Context, a *alive) error { return r.ask(ctx, a, p, at) })
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", r.name(), err)
	if ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) { // stopped; or the shard is truncated
		return err
	}
	return &UnreachableError{err}
}

// again calls f until it succeeds, is refused, or has failed often and, of a server that was met before, for long enough.
func again(ctx context.Context, met bool, f func(context.Context, *alive) error) error {
	began, wait := time.Now(), pause
	for try := 1; ; try++ {
		attempt, cancel := context.WithCancelCause(ctx)
		a := &alive{quiet: time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing has come for %v", stall)) })}
		err := f(attempt, a)
		a.quiet.Stop()
		if err != nil && ctx.Err() == nil && attempt.Err() != nil {
			err = context.Cause(attempt)
		}
		cancel(nil)
		var u *url.Error
		var no refusal
		if errors.As(err, &u) { // the caller names the address
			err = u.Err
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &no):
			return no.error
		case try >= tries && (!met || time.Since(began) >= patience):
			// As text: what ended or timed out there is an attempt, not the shard, and not the run.
			return fmt.Errorf("%v (%d attempts in %v)", err, try, time.Since(began).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, longest)
		}
	}
}

// alive puts the end of an attempt off whenever bytes come: a slow server is not a failing one.
type alive struct {
	io.Reader
	quiet *time.Timer
}

func (a *alive) watch(body io.Reader) io.Reader {
	a.Reader = body
	return a
}

func (a *alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.quiet.Reset(stall)
	}
	return n, err
}

// refusal is an answer that will not change: asking again gives the same.
type refusal struct{ error }

func refused(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// status makes an error of an answer that is not what was asked for.
func status(resp *http.Response) error {
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return refused("the server answers %s", resp.Status)
}

func (r *remote) ask(ctx context.Context, a *alive, p []byte, at int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return refused("%w", err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+int64(len(p))-1))
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
	case http.StatusOK:
		if resp.ContentLength == 0 && at == 0 { // of an empty file there is no part; no sample lies at its head
			return refused("%w", io.ErrUnexpectedEOF)
		}
		return refused("the server sends the whole file when asked for a part: shards need a server that answers range requests")
	case http.StatusRequestedRangeNotSatisfiable:
		return refused("%w", io.ErrUnexpectedEOF)
	default:
		return status(resp)
	}
	start, total, ok := contentRange(resp.Header.Get("Content-Range"))
	if !ok || start != at {
		return refused("asked for bytes from %d on, the server sent %q", at, resp.Header.Get("Content-Range"))
	}
	tag := resp.Header.Get("ETag")
	if tag == "" {
		tag = resp.Header.Get("Last-Modified")
	}
	r.mu.Lock()
	if r.total == 0 {
		r.total, r.tag = total, tag
	}
	r.met = true
	changed := r.total != total || r.tag != tag
	r.mu.Unlock()
	if changed {
		return refused("the file on the server has changed since it was opened")
	}
	if at+int64(len(p)) > total {
		return refused("%w", io.ErrUnexpectedEOF)
	}
	if n, err := io.ReadFull(a.watch(resp.Body), p); err != nil {
		return fmt.Errorf("the answer breaks off after %d of %d bytes: %w", n, len(p), err)
	}
	return nil
}

// contentRange reads "bytes 5-9/10".
func contentRange(s string) (start, total int64, ok bool) {
	span, of, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	if !ok {
		return 0, 0, false
	}
	first, _, _ := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	total, err2 := strconv.ParseInt(of, 10, 64)
	return start, total, err1 == nil && err2 == nil && start >= 0 && total >= 0
}

// maxText bounds a manifest or an index.
const maxText = 1 << 30

// get reads a small file whole. Met says whether its server has answered before.
func get(ctx context.Context, c *http.Client, address string, met bool) ([]byte, error) {
	var out []byte
	err := again(ctx, met, func(ctx context.Context, a *alive) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return refused("%w", err)
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return status(resp)
		}
		out, err = io.ReadAll(io.LimitReader(a.watch(resp.Body), maxText))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redact(address), err)
	}
	return out, nil
}
