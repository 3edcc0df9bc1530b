//go:build !(amd64 || arm64) || purego

package pixel

func across(dst, src *Planar, box Box, t *taps)               { acrossGo(dst, src, box, t) }
func down(dst, src []byte, stride int, weight []int32, n int) { downGo(dst, src, stride, weight, n) }
func deinterleave(r, g, b, src []byte, n int)                 { deinterleaveGo(r, g, b, src, n) }
func interleave(dst, r, g, b []byte, n int)                   { interleaveGo(dst, r, g, b, n) }
func lab8(dst [3][]float32, r, g, b []byte, c *labConstants)  { labGo(dst, r, g, b, c) }
func lightSum(r, g, b []byte) int                             { return lightSumGo(r, g, b) }
func vectors() bool                                           { return false }
func blendVector(p *Planar, y, level int, f float32)          { panic("ops: no assembly") }
func hueVector(p *Planar, y, shift int)                       { panic("ops: no assembly") }
