package jpeg

// idctGo is libjpeg's accurate integer inverse transform, with the 16-bit steps of its vector versions: dst gets 8×8 samples, rows
// pitch apart, of the coefficients times quant. The coefficients are cleared.
func idctGo(dst []byte, pitch int, coef *[64]int16, quant *[64]uint16) {
	var in, mid [8][8]int16 // [row][column], then [column][row]
	for row := range 8 {
		at := (row&3*2 + row>>2) * 8
		for col := range 8 {
			in[row][col] = coef[at+col] * int16(quant[at+col])
		}
	}
	alone := *coef == [64]int16{coef[0], coef[1], coef[2], coef[3], coef[4], coef[5], coef[6], coef[7]} // the first row
	clear(coef[:])
	for col := range 8 {
		if alone {
			for row := range 8 {
				mid[col][row] = in[0][col] << 2 // which the butterfly would saturate
			}
			continue
		}
		out := butterfly(in[0][col], in[1][col], in[2][col], in[3][col], in[4][col], in[5][col], in[6][col], in[7][col], 11)
		for row := range 8 {
			mid[col][row] = out[row]
		}
	}
	for row := range 8 {
		out := butterfly(mid[0][row], mid[1][row], mid[2][row], mid[3][row], mid[4][row], mid[5][row], mid[6][row], mid[7][row], 18)
		line := dst[row*pitch:][:8]
		for col, v := range out {
			line[col] = byte(min(max(v, -128), 127) + 128)
		}
	}
}

// butterfly is one column of the transform of Loeffler, Ligtenberg and Moschytz, rounded by shift bits and saturated.
func butterfly(i0, i1, i2, i3, i4, i5, i6, i7 int16, shift uint) (out [8]int16) {
	e0, e1 := int32(i0+i4)<<13, int32(i0-i4)<<13 // sums of 16 bits may overflow
	e2, e3 := int32(i2)*4433+int32(i6)*-10704, int32(i2)*10703+int32(i6)*4433
	t10, t13, t11, t12 := e0+e3, e0-e3, e1+e2, e1-e2
	z3, z4 := int32(i7+i3), int32(i5+i1)
	z3, z4 = z3*-6436+z4*9633, z3*9633+z4*6437
	o0 := int32(i7)*-4927 + int32(i1)*-7373 + z3
	o1 := int32(i5)*-4176 + int32(i3)*-20995 + z4
	o2 := int32(i3)*4177 + int32(i5)*-20995 + z3
	o3 := int32(i1)*4926 + int32(i7)*-7373 + z4
	for i, v := range [8]int32{t10 + o3, t11 + o2, t12 + o1, t13 + o0, t13 - o0, t12 - o1, t11 - o2, t10 - o3} {
		v = (v + 1<<(shift-1)) >> shift
		out[i] = int16(min(max(v, -32768), 32767))
	}
	return out
}

// flat is idct of a block that has nothing but its DC.
func flat(dst []byte, pitch int, dc int16) {
	mid := int32(dc << 2)
	v := byte(min(max((mid<<13+1<<17)>>18, -128), 127) + 128)
	for y := range 8 {
		row := dst[y*pitch:][:8]
		for x := range row {
			row[x] = v
		}
	}
}
