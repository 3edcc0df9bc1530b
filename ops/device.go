package ops

import "time"

// Device executes graphs. ops/cpu is the reference, ops/cuda the fast one; ops/opstest is what each must pass.
//
// A Device and everything made by it belong to one goroutine at a time: the stage that owns the device.
type Device interface {
	// Name is "cpu (avx512, 2 threads)" or "cuda:0 (NVIDIA H200)".
	Name() string

	// NewParams makes the tensors of g, all zero but γ and running variances, which are one.
	NewParams(g *Graph) (Params, error)

	// Compile plans g once: schedule, fusion, buffers. p must have been made by this Device for a graph with
	// the same parameters; several programs (training, evaluation, other batch sizes) may share it.
	// Mistakes are found here, with shapes in the message.
	Compile(g *Graph, p Params, o Options) (Program, error)

	// Close frees what the device holds.
	Close() error
}

// Tracer is a Device that can tell what it spent its time on.
type Tracer interface {
	// OnSpan sets what is told of every piece of work after it has ended: its name ("layer1.0.conv1", "layer1.0.conv1
	// backward", "sgd"), when it began on the host's clock, and how long it took. A device that works behind the host's
	// back tells later, at the latest before Close returns. nil ends it; measuring may cost time. f is called on the
	// goroutine that owns the device.
	OnSpan(f func(name string, start time.Time, d time.Duration))

	// Behind says that calls return before their work is done, so that only spans tell how long it took. Spans then include
	// "forward", "backward", "sgd", "average", and "upload", which runs beside them.
	Behind() bool
}

// Options fix what a Program is compiled for.
type Options struct {
	Batch     int      // the largest number of samples of one Forward, at least 1
	Train     bool     // batch statistics, dropout, and activations kept for Backward
	NoGrad    bool     // with Train: no Backward will follow, so that activations need not be kept (a momentum encoder)
	BNGroups  int      // batch-norm groups: contiguous chunks of ceil(B/n), each with its own statistics; running statistics follow chunk 0. 0 means 1
	Outputs   []string // marks to return; none means the last value
	InputGrad bool     // Backward also computes the gradient of the input
	Direct    bool     // no Winograd and no other reordering of sums that trades exactness for speed
	Seed      uint64   // of dropout
	// RunningStats makes batch norm use its running statistics, and dropout do nothing, although activations are kept:
	// training with frozen normalisation.
	RunningStats bool
}

// Params are the tensors of one Graph, held by a device in its own layout. Slices that go in and out are float32
// in the reference's layout and order (ParamSpec). A wrong name or length is an error that names both.
type Params interface {
	Specs() []ParamSpec

	Read(name string, dst []float32) error
	Write(name string, src []float32) error
	ReadGrad(name string, dst []float32) error
	ReadVelocity(name string, dst []float32) error  // the optimiser's momentum buffer, zero before the first step
	WriteVelocity(name string, src []float32) error // for resuming

	// ZeroGrad forgets all gradients. Backward adds to them.
	ZeroGrad()

	// SGD is one step of torch.optim.SGD over every trainable tensor:
	// d = g + decay·p, v = momentum·v + d, p -= lr·v.
	SGD(lr, momentum, decay float64)

	// Average makes every trainable tensor p = keep·p + (1-keep)·q, q the same tensor of from. Buffers stay.
	Average(from Params, keep float64) error

	// GradNorm is the L2 norm of all gradients: NaN or infinite when any of them is.
	GradNorm() float64
}

// Joint are Params of a device that need not be asked twice whether a step may be taken.
type Joint interface {
	// StepAll is GradNorm of every set, all of this device, and then SGD of every set if all norms are finite.
	StepAll(sets []Params, lr, momentum, decay float64) (norms []float64)
}

// Program is a compiled Graph.
type Program interface {
	// Forward runs n samples, x being [n,C,H,W]. The tape holds outputs and, in training, activations.
	// A steady state allocates nothing: tapes are recycled by Backward and Release.
	Forward(x []float32, n int) (Tape, error)

	// OutputShape is the shape of one sample of output i.
	OutputShape(i int) Shape

	// Stats says what the plan costs: multiply-adds of one Forward and Backward, bytes of the arena.
	Stats() ProgramStats
}

// Tape is one Forward whose Backward has not run yet. Several may be alive at once.
type Tape interface {
	// Output is output i, [n,C,H,W] or [n,D]; valid until Backward or Release.
	Output(i int) []float32

	// Backward adds the gradients of the parameters, given those of the outputs ([n,C,H,W] or [n,D], one for each
	// output, nil for none), and releases the tape. inputGrad, when Options.InputGrad asked for it, is
	// [n,C,H,W] and valid until the next Forward or Backward of the program; otherwise nil.
	Backward(grads ...[]float32) (inputGrad []float32, err error)

	// Release gives the tape up without a Backward.
	Release()
}

// ProgramStats are the fixed costs of a Program at its full batch.
type ProgramStats struct {
	ForwardFLOPs, BackwardFLOPs float64 // 2 per multiply-add, direct algorithm
	ArenaBytes                  int64
}
