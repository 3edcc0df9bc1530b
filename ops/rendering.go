package ops

// PixelProgram is a Program whose device can render its input: the host then uploads three bytes a pixel and no more.
type PixelProgram interface {
	// ForwardPixels is Forward of n pictures, 8-bit RGB [n,H,W,3], with the channels that r makes of them.
	ForwardPixels(rgb []byte, n int, r *Rendering) (Tape, error)
}

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
