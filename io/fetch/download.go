package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// attempts is how often a download goes on without a single byte having come in between.
const attempts = 5

// silence is how long a server may say nothing.
var silence = time.Minute

// pause is the wait before the second attempt; it doubles.
var pause = time.Second

// errGone says that trying again is no use.
var errGone = errors.New("no use")

// download writes a URL to a file, going on where an earlier call stopped if the server still has the same content.
func download(ctx context.Context, o Options, from, file string) error {
	client := o.Client
	if client == nil {
		client = &http.Client{}
	}
	strict := *client
	strict.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return fmt.Errorf("%w: ten redirections", errGone)
		}
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return fmt.Errorf("%w: redirected from https to %s", errGone, r.URL.Redacted())
		}
		return nil
	}
	name := from
	if u, err := url.Parse(from); err == nil {
		name = u.Redacted()
	}
	failed, wait := 0, pause
	for {
		n, err := attempt(ctx, &strict, o, from, file)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errGone):
			return fmt.Errorf("%s: %s", name, strings.TrimPrefix(cause(err).Error(), errGone.Error()+": "))
		}
		if failed++; n > 0 {
			failed, wait = 1, pause
		}
		if failed >= attempts {
			return fmt.Errorf("%s: %w; %d attempts brought nothing more; the same command goes on from there", name, cause(err), attempts)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// cause drops the address that package http puts before its errors: the caller names it.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// attempt asks for what is missing of a file and appends it. It says how many bytes came.
func attempt(ctx context.Context, c *http.Client, o Options, from, file string) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	req.Header.Set("Accept-Encoding", "identity") // sizes are those of the file
	have := int64(0)
	tag, err := os.ReadFile(file + ".tag")
	if info, statErr := os.Stat(file); statErr == nil && err == nil && len(tag) > 0 {
		have = info.Size()
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", string(tag)) // another content comes whole
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, stalled(ctx, err)
	}
	defer resp.Body.Close()
	total := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK:
		have = 0
	case http.StatusPartialContent:
		start, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != have {
			return 0, fmt.Errorf("%w: asked for bytes from %d on, the server sent %q", errGone, have, resp.Header.Get("Content-Range"))
		}
		total = size
	case http.StatusRequestedRangeNotSatisfiable: // all of it is here already, or more
		if _, size, ok := contentRange(resp.Header.Get("Content-Range")); ok && size == have {
			return 0, nil
		}
		if err := errors.Join(os.Remove(file), os.Remove(file+".tag")); err != nil {
			return 0, fmt.Errorf("%w: %w", errGone, err)
		}
		return 0, errors.New("the server has less than was downloaded before")
	default:
		err := fmt.Errorf("the server answers %s", resp.Status)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout {
			return 0, fmt.Errorf("%w: %w", errGone, err)
		}
		return 0, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(have), os.WriteFile(file+".tag", []byte(validator(resp.Header)), 0o644)); err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	came, err := appendFrom(f, resp.Body, have, total, o.Progress, func() { quiet.Reset(silence) })
	if err != nil {
		return came, stalled(ctx, err)
	}
	if total >= 0 && have+came < total {
		return came, fmt.Errorf("the connection ended after %d of %d bytes", have+came, total)
	}
	return came, f.Sync()
}

// stalled tells a silent server from other errors.
func stalled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the server said nothing for %v", silence)
	}
	return err
}

// validator is what If-Range takes: a strong entity tag, else the date.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10" and "bytes */10".
func contentRange(s string) (start, size int64, ok bool) {
	span, of, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	if !ok {
		return 0, 0, false
	}
	size, err := strconv.ParseInt(of, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if span == "*" {
		return 0, size, true
	}
	first, _, _ := strings.Cut(span, "-")
	start, err = strconv.ParseInt(first, 10, 64)
	return start, size, err == nil && start >= 0
}

// appendFrom writes what comes behind the bytes that are there.
func appendFrom(f *os.File, from io.Reader, have, total int64, progress func(done, total int64), alive func()) (int64, error) {
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	buf := make([]byte, 1<<20)
	var came int64
	for {
		n, err := from.Read(buf)
		if n > 0 {
			alive()
			if _, err := f.Write(buf[:n]); err != nil {
				return came, fmt.Errorf("%w: %w", errGone, err)
			}
			came += int64(n)
			if progress != nil {
				progress(have+came, total)
			}
		}
		if errors.Is(err, io.EOF) {
			return came, nil
		}
		if err != nil {
			return came, err
		}
	}
}
