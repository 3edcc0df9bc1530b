package synth

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
)

// relief is how far away a scene is at every pixel, in [0,1], [side,side]: a wall that leans and is not quite flat, and
// before it the objects, rounded at their edges. Patterns and light do not show in it, and its noise is its own.
type relief struct {
	side int
	z    []float64
}

// extras draw the further views.
var extras = map[string]func(relief) image.Image{
	"depth":   func(z relief) image.Image { return z.depth() },
	"normals": func(z relief) image.Image { return z.normals() },
}

// relief draws the scene's distances.
func (s *scene) relief(r *rand.Rand) relief {
	wall, leanX, leanY := 0.65+0.2*r.Float64(), 0.3*(r.Float64()-0.5), 0.3*(r.Float64()-0.5)
	freq, phase, dents := 2+3*r.Float64(), 100*r.Float64(), 0.12*r.Float64()
	lift, bulge, grain := 0.04+0.12*r.Float64(), 0.05+0.1*r.Float64(), 0.004
	out := relief{s.size, make([]float64, s.size*s.size)}
	for py := range s.size {
		for px := range s.size {
			x, y := (float64(px)+0.5)/float64(s.size), (float64(py)+0.5)/float64(s.size)
			z := wall + leanX*(x-0.5) + leanY*(y-0.5) - dents*noise(x*freq+phase, y*freq-phase)
			for i := range s.objects {
				o := &s.objects[i]
				dx, dy := (x-o.x)/o.r, (y-o.y)/o.r
				if inside := -o.sdf(dx*o.cos+dy*o.sin, dy*o.cos-dx*o.sin); inside > 0 {
					z -= lift + bulge*math.Sqrt(min(inside/0.35, 1))
				}
			}
			out.z[py*s.size+px] = min(max(z+grain*r.NormFloat64(), 0), 1)
		}
	}
	return out
}

// depth is the distance in 16 bits, 65535 being 1.
func (z relief) depth() image.Image {
	img := image.NewGray16(image.Rect(0, 0, z.side, z.side))
	for i, v := range z.z {
		img.SetGray16(i%z.side, i/z.side, color.Gray16{Y: uint16(v*0xffff + 0.5)})
	}
	return img
}

// normals are the directions that the surface faces, x, y and z in [-1,1] being red, green and blue.
func (z relief) normals() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, z.side, z.side))
	at := func(x, y int) float64 {
		return z.z[min(max(y, 0), z.side-1)*z.side+min(max(x, 0), z.side-1)]
	}
	scale := float64(z.side) / 8
	for y := range z.side {
		for x := range z.side {
			nx, ny := scale*(at(x+1, y)-at(x-1, y)), scale*(at(x, y+1)-at(x, y-1))
			inv := 1 / math.Sqrt(nx*nx+ny*ny+1)
			img.SetNRGBA(x, y, color.NRGBA{signed(nx * inv), signed(ny * inv), signed(inv), 255})
		}
	}
	return img
}

func signed(v float64) uint8 { return uint8(min(max(127.5+127.5*v, 0), 255) + 0.5) }
