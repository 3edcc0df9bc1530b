//go:build !(amd64 || arm64) || purego

package jpeg

func idct(dst []byte, pitch int, coef *[64]int16, quant *[64]uint16) { idctGo(dst, pitch, coef, quant) }
func doubleBoth(dst, cur, near []byte, n int)                        { doubleBothGo(dst, cur, near, n) }
func double(dst, cur []byte, n int)                                  { doubleGo(dst, cur, n) }
func convert(r, g, b, y, cb, cr []byte, n int)                       { convertGo(r, g, b, y, cb, cr, n) }

// vector says that the kernels are assembly.
func vector() bool { return false }
