package prometheus_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/contraflow/contraflow"
	"github.com/contraflow/contraflow/io/prometheus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
	return string(text)
}

// A running graph is scraped: the numbers are there, move on, and are what Prometheus' linter wants.
func TestScrape(t *testing.T) {
	g := contraflow.New("scraped")
	gate := make(chan struct{})
	back := contraflow.Loop[int](g, "weights", 9).Between("sink", "double")
	p := contraflow.Step(contraflow.Source(g, "numbers", func(yield func(int, error) bool) {
		for i := range 6 {
			if !yield(i, nil) {
				return
			}
		}
	}), "double", func(_ context.Context, i int) (int, error) { return 2 * i, nil }, contraflow.Workers(2))
	contraflow.Each(p, "sink", func(ctx context.Context, i int) error { <-gate; return back.Send(ctx, i) })
	s, err := prometheus.Serve(":0", map[string]string{"images_total": "Images seen."}, func() prometheus.Reading {
		return prometheus.Reading{Stats: g.Stats(), Counters: map[string]float64{"images_total": 640}, Gauges: map[string]float64{"loss": 2.5}}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if host, _, _ := net.SplitHostPort(s.Addr()); host != "127.0.0.1" {
		t.Errorf("listens at %s", s.Addr())
	}
	failed := make(chan error, 1)
	go func() { failed <- g.Run(context.Background()) }()
	gate <- struct{}{}
	gate <- struct{}{}
	url := "http://" + s.Addr()
	if first := get(t, url+"/metrics"); !strings.Contains(first, `contraflow_stage_items_total{stage="sink"} 1`) && !strings.Contains(first, `contraflow_stage_items_total{stage="sink"} 2`) {
		t.Errorf("in mid run:\n%s", first)
	}
	close(gate)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	text := get(t, url+"/metrics")
	for _, want := range []string{
		`contraflow_stage_items_total{stage="sink"} 6`, `contraflow_stage_workers{stage="double"} 2`,
		`contraflow_stage_seconds_total{mode="starved",stage="sink"}`, `contraflow_stage_call_seconds{stage="double",quantile="0.99"}`,
		`contraflow_edge_items_total{from="numbers",to="double"} 6`, `contraflow_edge_depth{from="double",to="sink"} 2`,
		`contraflow_loop_items_total{loop="weights"} 6`, "contraflow_images_total 640", "# HELP contraflow_images_total Images seen.", "contraflow_loss 2.5",
		"go_goroutines", `contraflow_stage_limits{stage="sink"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if !strings.Contains(get(t, url+"/"), "/metrics") {
		t.Error("the front page does not say where to look")
	}
}

func TestMistakes(t *testing.T) {
	for addr, want := range map[string]string{"9090": "host:port", "127.0.0.1:99999": "invalid port", "nowhere.invalid:1": "nowhere.invalid"} {
		if s, err := prometheus.Serve(addr, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", addr, s, err)
		}
	}
}
