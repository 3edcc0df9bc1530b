package ops

// PixelProgram is a Program whose device can render its input: the host then uploads three bytes a pixel and no more.
type PixelProgram interface {
	// ForwardPixels is Forward of p.N samples with the channels that r makes of them. p may be changed when it returns.
	ForwardPixels(p Pictures, r *Rendering) (Tape, error)
}

// Sender is a device that takes pictures before their turn: they travel while it computes.
type Sender interface {
	// Send begins to bring 8-bit pictures to the device; Pictures.Sent takes what it returns. rgb may be changed when Send
	// returns. It may be called beside every other call.
	Send(rgb []byte) (Sent, error)
}

// Sent are pictures on their way to a device, or there. Passes that were started with them are not disturbed by Release.
type Sent interface{ Release() }

// Pictures are a batch as decode leaves it, and what is to happen to it before and after it becomes channels.
type Pictures struct {
	RGB   []byte  // 8-bit RGB [P,H,W,3]
	Sent  Sent    // RGB, sent ahead; nil: ForwardPixels brings it to the device
	Touch []Touch // by picture; nil leaves all as they are
	// N samples are the first of the slots; those behind them lend pixels to a mixture.
	N     int
	Slots []int // the picture of every slot; nil: slot i shows picture i, and there are N of both
	Acts  []Act // in order, on rendered slots
	Order []int // sample i of the pass is slot Order[i]; nil: slot i
}

// Touch is what is done to a picture in 8 bits, to the numbers of package pixel: mirrored left to right, then jittered.
type Touch struct {
	Mirror bool
	Jitter *Jitter // nil: not
}

// Jitter is grayscale, then brightness, contrast, saturation and hue, numbered from 0, in an order of their own.
type Jitter struct {
	Gray   bool
	Order  []int
	Factor [3]float64
	Hue    float64 // turns
}

// ActKind is what an act does.
type ActKind int

// The acts: To = λ·To + (1-λ)·From; To = Value·To and then From inside the box; Value inside the box. Products are rounded
// before they are added.
const (
	Blend ActKind = iota
	Paste
	Fill
)

// Act is one step of a mixture, on every channel of a slot.
type Act struct {
	Kind     ActKind
	To, From int // slots
	Lambda   float64
	Box      Area
	Value    float32
}

// Area is a half-open box of rows and columns.
type Area struct{ Top, Bottom, Left, Right int }

// Size is the number of pixels.
func (a Area) Size() int { return max(a.Bottom-a.Top, 0) * max(a.Right-a.Left, 0) }

// Rendering says how 8-bit RGB becomes normalised channels.
type Rendering struct {
	Channels []int // one to three of the three, in the order of the network's input
	// Affine makes channel k of Affine[k][0]·r + Affine[k][1]·g + Affine[k][2]·b + Affine[k][3], levels from 0 to 255.
	Affine [3][4]float32
	// Lab, unless nil, makes CIE Lab instead.
	Lab *Lab
}

// Lab is CIE Lab of sRGB levels: light by level, to X, Y and Z with white being one, f of each (the cube root, linear up to
// 0.008856), then scale and shift of f(Y), f(X)-f(Y), f(Y)-f(Z).
type Lab struct {
	Light        [256]float32
	Matrix       [3][3]float32
	Scale, Shift [3]float32
}
