package cpu

// phase is one residue class of the input pixels of a strided convolution: its gradient is a convolution of stride
// one over the output's gradient with the taps that reach it.
type phase struct {
	ph, pw int   // residue of the pixel
	kh, kw int   // taps
	h0, w0 int   // first output row and column that reaches pixel (ph, pw)
	taps   []int // kh·KW+kw of the forward weights
	at     int   // where its panels begin in the packed weights
}

// phases lists the classes of a convolution; taps are in the order of rising output index.
func phases(kernel, stride, pad int) []phase {
	axis := func(p int) (ks []int, first int) {
		for k := kernel - 1; k >= 0; k-- {
			if t := p + pad - k; (t%stride+stride)%stride == 0 {
				if len(ks) == 0 {
					first = t / stride
				}
				ks = append(ks, k)
			}
		}
		return ks, first
	}
	var out []phase
	for ph := range stride {
		for pw := range stride {
			hs, h0 := axis(ph)
			ws, w0 := axis(pw)
			p := phase{ph: ph, pw: pw, kh: len(hs), kw: len(ws), h0: h0, w0: w0}
			for _, a := range hs {
				for _, b := range ws {
					p.taps = append(p.taps, a*kernel+b)
				}
			}
			out = append(out, p)
		}
	}
	return out
}

// gradHalo is how far backward-data reads past the border of an output gradient of oh rows for an input of h rows.
func gradHalo(list []phase, stride, h, oh int) int {
	halo := 0
	for _, p := range list {
		if p.kh == 0 || p.kw == 0 {
			continue
		}
		n := (h - p.ph + stride - 1) / stride
		halo = max(halo, -p.h0, -p.w0, p.h0+n-1+p.kh-1-(oh-1), p.w0+n-1+p.kw-1-(oh-1))
	}
	return halo
}

// backData writes, or adds, the gradient of a convolution's input. dy has a halo of at least gradHalo, zeroed.
func (d *Device) backData(dx, dy *image, n int, wp []float32, list []phase, stride int, add bool) {
	if !add && anyEmpty(list) {
		for b := range n {
			for h := range dx.h {
				clear(dx.row(b, h))
			}
		}
	}
	for _, p := range list {
		oh, ow := (dx.h-p.ph+stride-1)/stride, (dx.w-p.pw+stride-1)/stride
		if len(p.taps) == 0 || oh <= 0 || ow <= 0 {
			continue
		}
		d.convolve(dy, dx, n, wp[p.at:], window{
			kh: p.kh, kw: p.kw, s: 1, h0: p.h0, w0: p.w0, oh: oh, ow: ow,
			ys: stride, y0: p.ph, x0: p.pw, add: add,
		})
	}
}

func anyEmpty(list []phase) bool {
	for _, p := range list {
		if len(p.taps) == 0 {
			return true
		}
	}
	return false
}

// backWeight adds Σ_pixels x[n, i·s-pad+kh, j·s-pad+kw, ic] · dy[n, i, j, oc] to dw [KH·KW·IC][OC]. Pixels are taken
// in chunks: the chunk's dy is packed once, then every tile of dw is a matrix product over the chunk.
func (d *Device) backWeight(dw []float32, x, dy *image, n, kernel, stride, pad int) {
	mr, nr := d.isa.mr, d.isa.nr
	ic, oc := x.c, dy.c
	np := panels(oc, nr)
	runLen := kernel * ic // contiguous in x for a pixel and a row of the window
	tiles := (runLen + mr - 1) / mr
	rows := n * dy.h
	per := max(1, min(rows, 512/dy.w))
	if dy.h*dy.w == 1 {
		per = min(rows, 512)
	}
	for r0 := 0; r0 < rows; r0 += per {
		r1 := min(rows, r0+per)
		px := (r1 - r0) * dy.w
		if need := np*px*nr + slack; len(d.packed) < need {
			d.packed = aligned(need)
		}
		d.pool.run(np, func(_, j int) { d.packGradient(d.packed[j*px*nr:], dy, r0, r1, j) })
		d.pool.run(kernel*tiles, func(w, t int) {
			kh, t0, t1 := t/tiles, 0, 0
			t0, t1 = span(runLen, tiles, t%tiles)
			sc := &d.scratch[w]
			if need := px*mr + slack; len(sc.a) < need {
				sc.a = aligned(need)
			}
			d.packPixels(sc.a, x, dy, r0, r1, kh, t0, t1-t0, stride, pad)
			p := gemmArgs{ki: px, ko: 1, csa: uintptr(mr * 4), rsa: 4, a: ptr(sc.a, 0)}
			grad := image{n: 1, h: 1, w: t1 - t0, c: oc, data: dw[(kh*runLen+t0)*oc:]}
			for j := range np {
				p.b = ptr(d.packed, j*px*nr)
				p.pf = p.b
				if j+1 < np {
					p.pf = ptr(d.packed, (j+1)*px*nr)
				}
				d.store(sc, &p, d.isa.gemm[t1-t0], &grad, 0, j, t1-t0, uintptr(oc*4), true)
			}
		})
	}
}

// packGradient packs channels of panel j of rows [r0,r1): dst[pixel][nr].
func (d *Device) packGradient(dst []float32, dy *image, r0, r1, j int) {
	nr := d.isa.nr
	width := min(nr, dy.c-j*nr)
	for r := r0; r < r1; r++ {
		src := dy.row(r/dy.h, r%dy.h)[j*nr:]
		out := dst[(r-r0)*dy.w*nr:][:dy.w*nr]
		if width == 32 && d.isa.packs16 {
			pack32(ptr(out, 0), ptr(src, 0), uintptr(dy.c*4), dy.w)
			continue
		}
		for p := range dy.w {
			copy(out[p*nr:][:width], src[p*dy.c:])
			clear(out[p*nr+width:][:nr-width])
		}
	}
}

// packPixels packs m floats from column from of the window's row kh, for every output pixel of rows [r0,r1):
// dst[pixel][mr].
func (d *Device) packPixels(dst []float32, x, dy *image, r0, r1, kh, from, m, stride, pad int) {
	mr := d.isa.mr
	for r := r0; r < r1; r++ {
		at := x.at(r/dy.h, r%dy.h*stride-pad+kh, -pad) + from
		out := dst[(r-r0)*dy.w*mr:]
		if d.isa.packs16 {
			pack14(ptr(out, 0), ptr(x.data, at), uintptr(stride*x.c*4), dy.w)
			continue
		}
		for p := range dy.w {
			copy(out[p*mr:][:m], x.data[at+p*stride*x.c:])
		}
	}
}
