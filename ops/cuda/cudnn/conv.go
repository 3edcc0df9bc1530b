//go:build cuda

package cudnn

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Op is the direction of a convolution.
type Op int

// What a plan computes: Forward y, BackData dx, BackWeight dw.
const (
	Forward Op = iota
	BackData
	BackWeight
)

func (o Op) String() string {
	return [...]string{"forward", "gradient of the input", "gradient of the weights"}[o]
}

// Conv is a convolution of x [N,H,W,C] with w [K,R,S,C] to y [N,P,Q,K], both counted in values of float or, with BF16, of
// bfloat16; sums are float.
type Conv struct {
	Op           Op
	N, C, H, W   int
	K, R, S      int
	Stride, Pad  int
	BF16         bool
	TF32         bool // float inputs may be rounded to ten bits
	Add          bool // the result is added to what is there
	MaxWorkspace int64
}

// Out is the height and width of y.
func (c Conv) Out() (p, q int) {
	return (c.H+2*c.Pad-c.R)/c.Stride + 1, (c.W+2*c.Pad-c.S)/c.Stride + 1
}

func (c Conv) String() string {
	return fmt.Sprintf("%v of a convolution [%d,%d,%d,%d] with %d kernels %d×%d, stride %d, pad %d", c.Op, c.N, c.H, c.W, c.C, c.K, c.R, c.S, c.Stride, c.Pad)
}

// Plan is one engine for one convolution.
type Plan struct {
	// Index is its place among all engines that were listed, the same in every process with the same library and device.
	Index     int
	Workspace int64

	l     *Lib
	own   *builder
	plan  uintptr
	packs map[[4]uintptr]uintptr
}

// Plans lists the engines that can do c, in the order of cuDNN's heuristics, at most limit. Those that do not give the same
// bits every time are left out, and without TF32 those that round float inputs. only, unless negative, asks for the
// engine with that Index alone.
func (l *Lib) Plans(c Conv, limit, only int) ([]*Plan, error) {
	g := &builder{l: l}
	graph := c.graph(g)
	if g.err != nil {
		g.free()
		return nil, fmt.Errorf("%v: %w", c, g.err)
	}
	var out []*Plan
	index := 0
	for _, mode := range []int32{modeA, modeFallback} {
		h := &builder{l: l}
		heur := h.make(kindHeuristics)
		set(h, heur, heurGraph, typeDescriptor, graph)
		set(h, heur, heurMode, typeHeurMode, mode)
		h.finish("heuristics", heur)
		var configs [64]uintptr
		for i := range configs {
			configs[i] = h.make(kindConfig)
		}
		var n int64
		if h.err == nil {
			h.err = l.check("list engines", l.getAttribute(heur, heurResults, typeDescriptor, int64(len(configs)), &n, unsafe.Pointer(&configs[0])))
		}
		if h.err != nil { // this list is not to be had
			h.free()
			continue
		}
		for _, config := range configs[:n] {
			at := index
			index++
			if len(out) == limit || (only >= 0 && at != only) || !c.fits(l, config) {
				continue
			}
			if p := l.plan(config, c.MaxWorkspace); p != nil {
				p.Index = at
				out = append(out, p)
			}
		}
		// Configurations stay: plans refer to them.
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%v: cuDNN %d has no engine for it that is exact and deterministic within %d MiB", c, l.version, c.MaxWorkspace>>20)
	}
	return out, nil
}

// graph describes c as a graph of one operation.
func (c Conv) graph(b *builder) uintptr {
	i := func(v int) int64 { return int64(v) }
	kind := int32(dataFloat)
	if c.BF16 {
		kind = dataBFloat16
	}
	p, q := c.Out()
	x := b.tensor('x', kind, i(c.N), i(c.C), i(c.H), i(c.W))
	w := b.tensor('w', kind, i(c.K), i(c.C), i(c.R), i(c.S))
	y := b.tensor('y', kind, i(c.N), i(c.K), i(p), i(q))
	conv := b.make(kindConvolution)
	set(b, conv, convCompute, typeDataType, int32(dataFloat))
	set(b, conv, convMode, typeConvMode, int32(crossCorrelation))
	set(b, conv, convDims, typeInt64, int64(2))
	set(b, conv, convPadBefore, typeInt64, i(c.Pad), i(c.Pad))
	set(b, conv, convPadAfter, typeInt64, i(c.Pad), i(c.Pad))
	set(b, conv, convDilation, typeInt64, int64(1), int64(1))
	set(b, conv, convStride, typeInt64, i(c.Stride), i(c.Stride))
	b.finish("convolution", conv)

	kinds := [...]int32{kindForward, kindBackData, kindBackWeight}
	first := [...]int32{opForward, opBackData, opBackWeight}[c.Op]
	op := b.make(kinds[c.Op])
	three := [3]uintptr{w, x, y} // w or dw, x or dx, y or dy: one order for all directions
	for k, t := range three {
		set(b, op, first+3+int32(k), typeDescriptor, t)
	}
	beta := float32(0)
	if c.Add {
		beta = 1
	}
	set(b, op, first, typeFloat, float32(1))
	set(b, op, first+1, typeFloat, beta)
	set(b, op, first+2, typeDescriptor, conv)
	b.finish("operation", op)
	g := b.make(kindGraph)
	set(b, g, graphOps, typeDescriptor, op)
	set(b, g, graphHandle, typeHandle, b.l.handle)
	b.finish("graph", g)
	return g
}

// fits reads what an engine says of its arithmetic.
func (c Conv) fits(l *Lib, config uintptr) bool {
	b := &builder{l: l}
	defer b.free()
	engine := b.make(kindEngine)
	var n int64
	if b.err != nil || l.getAttribute(config, configEngine, typeDescriptor, 1, &n, unsafe.Pointer(&engine)) != 0 {
		return false
	}
	var notes [16]int32
	if l.getAttribute(engine, engineNotes, typeNumericalNote, int64(len(notes)), &n, unsafe.Pointer(&notes[0])) != 0 {
		return false
	}
	for _, note := range notes[:n] {
		switch {
		case note == noteNondetermin, note == noteReduced && !c.TF32 && !c.BF16:
			return false
		case (note == noteTensorCore || note == noteDownConvert) && !c.BF16 && !c.TF32:
			return false
		}
	}
	return true
}

// plan finalises a configuration, nil when the engine does not support it after all.
func (l *Lib) plan(config uintptr, most int64) *Plan {
	b := &builder{l: l}
	d := b.make(kindPlan)
	set(b, d, planHandle, typeHandle, l.handle)
	set(b, d, planConfig, typeDescriptor, config)
	b.finish("plan", d)
	p := &Plan{l: l, own: b, plan: d, packs: map[[4]uintptr]uintptr{}}
	var n int64
	if b.err != nil || l.getAttribute(d, planWorkspace, typeInt64, 1, &n, unsafe.Pointer(&p.Workspace)) != 0 || p.Workspace > most {
		b.free()
		return nil
	}
	return p
}

// Run computes on x, w and y, one of which is the result, with at least Workspace bytes at workspace.
func (p *Plan) Run(x, w, y, workspace uintptr) error {
	key := [4]uintptr{x, w, y, workspace}
	pack, ok := p.packs[key]
	if !ok {
		pack = p.own.make(kindPack)
		set(p.own, pack, packPointers, typePointer, x, w, y)
		set(p.own, pack, packIDs, typeInt64, int64('x'), int64('w'), int64('y'))
		set(p.own, pack, packWorkspace, typePointer, workspace)
		p.own.finish("variant pack", pack)
		if p.own.err != nil {
			return p.own.err
		}
		p.packs[key] = pack
	}
	status, _, _ := purego.SyscallN(p.l.execute, p.l.handle, p.plan, pack)
	return p.l.check("execute", int32(status))
}

// Close frees the plan.
func (p *Plan) Close() { p.own.free() }
