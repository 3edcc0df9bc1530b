package flows_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/contraflow/contraflow/flows"
)

// A run is scraped while it trains: the graph's numbers and those of training are there; an address that is taken is refused.
func TestLive(t *testing.T) {
	o := small(t, "cmc", images(t))
	if l, err := flows.NewLive(o); l != nil || err != nil {
		t.Fatalf("without --metrics_addr: %v %v", l, err)
	}
	o.Run.Metrics, o.Run.MaxSteps = "127.0.0.1:0", 3
	live, err := flows.NewLive(o)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	taken := o
	taken.Run.Metrics = live.Addr()
	if _, err := flows.NewLive(taken); err == nil || !strings.Contains(err.Error(), "--metrics_addr") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken address: %v", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	scrape := func() string {
		res, err := client.Get("http://" + live.Addr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := scrape(); !strings.Contains(text, "contraflow_steps_total 0") {
		t.Errorf("before the run:\n%s", text)
	}
	var texts []string
	runWith(t, o, live.Watch, func(rep *flows.StepReport) {
		live.Step(rep)
		texts = append(texts, scrape())
	})
	if len(texts) != 3 {
		t.Fatalf("%d scrapes", len(texts))
	}
	for i, want := range []string{"contraflow_steps_total 1", "contraflow_images_total 16", "contraflow_steps_total 3"} {
		for _, also := range []string{want, `contraflow_stage_seconds_total{mode="busy",stage="encode"}`, "contraflow_l_loss ", `contraflow_edge_depth{from="decode",to="views"} 2`, "contraflow_epoch 1"} {
			if !strings.Contains(texts[i], also) {
				t.Errorf("scrape %d lacks %s:\n%s", i, also, texts[i])
			}
		}
	}
}
