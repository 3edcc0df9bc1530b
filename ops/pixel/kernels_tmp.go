package pixel

func deinterleave(r, g, b, src []byte, n int) { deinterleaveGo(r, g, b, src, n) }
func interleave(dst, r, g, b []byte, n int)   { interleaveGo(dst, r, g, b, n) }
