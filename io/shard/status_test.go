package shard

import (
	"context"
	"errors"
	"net/http"
	"testing"
)

// A server that fails or is busy is asked again; one that says no is not.
func TestAskedAgain(t *testing.T) {
	for code, again := range map[int]bool{500: true, 503: true, 429: true, 408: true, 401: false, 403: false, 404: false, 301: false} {
		var no refusal
		if err := status(&http.Response{StatusCode: code, Status: http.StatusText(code)}); err == nil || errors.As(err, &no) == again {
			t.Errorf("%d: %v, want it asked again: %v", code, err, again)
		}
	}
	asked, gone := 0, errors.New("gone")
	err := again(context.Background(), true, func(context.Context, *alive) error { asked++; return refused("no: %w", gone) })
	if asked != 1 || !errors.Is(err, gone) || err.Error() != "no: gone" {
		t.Errorf("asked %d times: %v", asked, err)
	}
	stopped, stop := context.WithCancel(context.Background())
	err = again(stopped, true, func(context.Context, *alive) error { stop(); return gone })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is stopped meanwhile: %v", err)
	}
}
