package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flows"
	"github.com/contraflow/contraflow/ops"
	"github.com/contraflow/contraflow/ops/cpu"
)

func newBench() *cobra.Command {
	return group("bench", "Measure steps, convolutions, the memory and loading on this machine", newBenchStep(), newBenchConv(), newBenchBank(), newBenchDecode())
}

func newBenchStep() *cobra.Command {
	var asJSON bool
	var profile string
	b := flows.StepBench{}
	c := &cobra.Command{
		Use: "step --flow cmc|moco|insdis --model M", Short: "Whole training steps on random images: forward, loss, backward, SGD", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.Check(); err != nil {
				return usageError{err}
			}
			var r flows.StepResult
			if err := profiled(profile, func() (err error) {
				r, err = b.Run()
				return err
			}); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(r)
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "images/s\t%.2f\nstep\t%.1f ms\t(%.1f … %.1f)\n", r.ImagesPerS, r.StepMS, r.StepMSMin, r.StepMSMax)
			if r.QueryStepMS > 0 {
				fmt.Fprintf(w, "query step\t%.1f ms\n", r.QueryStepMS)
			}
			fmt.Fprintf(w, "memory\t%.0f MB\nrate\t%.1f GFLOP/s\n", r.PeakRSSMB, r.GFLOPS)
			if r.ShareOfPeak != nil {
				fmt.Fprintf(w, "peak\t%.1f GFLOP/s\t%.1f GB/s\nshare\t%.0f %%\n", *r.PeakGFLOPS, *r.PeakGBs, 100**r.ShareOfPeak)
			}
			fmt.Fprintf(w, "device\t%s\n", r.Device)
			for _, s := range r.Spans {
				fmt.Fprintf(w, "  %s\t%.3f ms\t×%.3g\n", s.Name, s.MS, s.Times)
			}
			return w.Flush()
		},
	}
	f := c.Flags()
	f.StringVar(&b.Flow, "flow", "cmc", "cmc, moco or insdis")
	f.StringVar(&b.Model, "model", "alexnet", "network, see contraflow models")
	f.IntVar(&b.Batch, "batch", 32, "images a step")
	f.IntVar(&b.ImageSize, "image_size", 224, "side of the images in pixels")
	f.IntVar(&b.K, "nce_k", 4096, "negatives, or length of the queue")
	f.IntVar(&b.N, "n_data", 100000, "rows of the memory")
	f.IntVar(&b.Threads, "threads", 0, "compute threads; 0 is one a core")
	f.IntVar(&b.Steps, "steps", 5, "steps measured, after one to warm up")
	f.BoolVar(&b.Softmax, "softmax", false, "softmax cross entropy instead of NCE")
	f.StringVar(&b.Device, "device", "auto", "auto, cpu, cuda or cuda:N")
	f.BoolVar(&b.AMP, "amp", false, "bfloat16: on the cuda device, and where the processor has instructions for it")
	f.BoolVar(&b.CUDAGraph, "cuda_graph", false, "steps of the cuda device as CUDA graphs")
	f.BoolVar(&b.TF32, "tf32", false, "float products of the cuda device round their inputs")
	f.BoolVar(&b.Direct, "deterministic_reference", false, "no Winograd convolutions")
	f.StringVar(&profile, "cpuprofile", "", "file for a profile that go tool pprof reads")
	f.BoolVar(&b.QueryOnly, "query_only", false, "moco: steps without the key encoder")
	f.BoolVar(&b.Spans, "spans", false, "tell afterwards what the device spent its time on, in steps of their own")
	f.BoolVar(&b.Peak, "peak", false, "measure the machine's multiply-adds and bandwidth first, and report the share of them")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// resnet50Convs are the different convolutions of ResNet-50 at 224 pixels, and how often each occurs.
var resnet50Convs = []struct {
	name              string
	size, in, out     int
	kernel, stride, n int
}{
	{"conv1 7x7/2", 224, 3, 64, 7, 2, 1},
	{"l1 1x1 64>64", 56, 64, 64, 1, 1, 1}, {"l1 3x3 64", 56, 64, 64, 3, 1, 3}, {"l1 1x1 64>256", 56, 64, 256, 1, 1, 4}, {"l1 1x1 256>64", 56, 256, 64, 1, 1, 2},
	{"l2 1x1 256>128", 56, 256, 128, 1, 1, 1}, {"l2 3x3/2 128", 56, 128, 128, 3, 2, 1}, {"l2 1x1/2 256>512", 56, 256, 512, 1, 2, 1},
	{"l2 1x1 128>512", 28, 128, 512, 1, 1, 4}, {"l2 1x1 512>128", 28, 512, 128, 1, 1, 3}, {"l2 3x3 128", 28, 128, 128, 3, 1, 3},
	{"l3 1x1 512>256", 28, 512, 256, 1, 1, 1}, {"l3 3x3/2 256", 28, 256, 256, 3, 2, 1}, {"l3 1x1/2 512>1024", 28, 512, 1024, 1, 2, 1},
	{"l3 1x1 256>1024", 14, 256, 1024, 1, 1, 6}, {"l3 1x1 1024>256", 14, 1024, 256, 1, 1, 5}, {"l3 3x3 256", 14, 256, 256, 3, 1, 5},
	{"l4 1x1 1024>512", 14, 1024, 512, 1, 1, 1}, {"l4 3x3/2 512", 14, 512, 512, 3, 2, 1}, {"l4 1x1/2 1024>2048", 14, 1024, 2048, 1, 2, 1},
	{"l4 1x1 512>2048", 7, 512, 2048, 1, 1, 3}, {"l4 1x1 2048>512", 7, 2048, 512, 1, 1, 2}, {"l4 3x3 512", 7, 512, 512, 3, 1, 2},
}

// convRow is one line of bench conv; rates are in GFLOP/s, counted directly.
type convRow struct {
	Layer   string  `json:"layer"`
	Count   int     `json:"count"`
	Forward float64 `json:"forward"`
	Data    float64 `json:"data"`
	Weight  float64 `json:"weight"`
	GFLOP   float64 `json:"gflop"` // of one pass
}

func newBenchConv() *cobra.Command {
	var batch, threads, runs int
	var direct, amp, asJSON bool
	c := &cobra.Command{
		Use: "conv", Short: "Every convolution of ResNet-50: forward, gradient of the input, gradient of the weights", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := cpu.Open(cpu.Options{Threads: threads, BF16: amp})
			if err != nil {
				return err
			}
			defer d.Close()
			var rows []convRow
			var flops, seconds float64
			for _, l := range resnet50Convs {
				t, err := d.TimeConv(ops.Shape{C: l.in, H: l.size, W: l.size}, ops.ConvOptions{Out: l.out, Kernel: l.kernel, Stride: l.stride, Pad: l.kernel / 2}, batch, runs, direct)
				if err != nil {
					return err
				}
				rate := func(s float64) float64 { return t.FLOPs / 1e9 / s }
				rows = append(rows, convRow{l.name, l.n, rate(t.Forward.Seconds()), rate(t.Data.Seconds()), rate(t.Weight.Seconds()), t.FLOPs / 1e9})
				flops += 3 * float64(l.n) * t.FLOPs
				seconds += float64(l.n) * (t.Forward + t.Data + t.Weight).Seconds()
			}
			return printConvs(cmd.OutOrStdout(), rows, flops/1e9/seconds, seconds, d, asJSON)
		},
	}
	f := c.Flags()
	f.IntVar(&batch, "batch", 8, "images")
	f.IntVar(&threads, "threads", 1, "compute threads; 0 is one a core")
	f.IntVar(&runs, "runs", 5, "runs of each, of which the best counts")
	limitWorkers(f, "threads")
	between(1, 1024, f, "batch")
	atLeast(1, f, "runs")
	f.BoolVar(&direct, "deterministic_reference", false, "no Winograd convolutions")
	f.BoolVar(&amp, "amp", false, "bfloat16 where the processor has instructions for it")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printConvs(out io.Writer, rows []convRow, rate, seconds float64, d *cpu.Device, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			Layers  []convRow `json:"layers"`
			GFLOPS  float64   `json:"gflops"`
			Seconds float64   `json:"seconds"`
			ISA     string    `json:"isa"`
		}{rows, rate, seconds, d.ISA()})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "layer\ttimes\tforward\tdata\tweight\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t\n", r.Layer, r.Count, r.Forward, r.Data, r.Weight)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "all: %.3f s, %.1f GFLOP/s on %s\n", seconds, rate, d.Name())
	return nil
}

func newBenchBank() *cobra.Command {
	var asJSON bool
	b := flows.BankBench{}
	c := &cobra.Command{
		Use: "bank", Short: "One direction of a memory: gathered dot products, loss and gradient", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := b.Run()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(r)
			}
			fmt.Fprintf(out, "%.1f ms (best %.1f), %.1f GB/s of rows on %s; plain loops on one thread %.1f ms, %.1f times as long\n", r.MS, r.MSMin, r.GBs, counted(r.Threads, "thread"), r.NaiveMS, r.Ratio)
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&b.Batch, "batch", 128, "queries")
	f.IntVar(&b.K, "nce_k", 16384, "negatives")
	f.IntVar(&b.D, "feat_dim", 128, "dimension")
	f.IntVar(&b.N, "n_data", 1280000, "rows of the memory")
	f.IntVar(&b.Threads, "threads", 0, "threads; 0 is one a core")
	f.IntVar(&b.Runs, "runs", 5, "runs, after one to warm up")
	limitWorkers(f, "threads")
	atLeast(1, f, "batch", "nce_k", "feat_dim", "n_data", "runs")
	f.BoolVar(&b.Softmax, "softmax", false, "softmax cross entropy instead of NCE")
	f.BoolVar(&b.Queue, "queue", false, "a queue: every query meets the same rows")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
