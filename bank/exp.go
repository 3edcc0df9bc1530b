package bank

import "math"

// exp is e^x.
func exp(x float64) float64 {
	e := [1]float64{x}
	exps(e[:])
	return e[0]
}

// exps replaces every x by e^x to a relative error below 1e-13, in a quarter of math.Exp's time: x = (64·e + t)·ln2/64 + r, a table
// for 2^(t/64), and four terms of r's series, |r| < 0.0055. Outside ±700 it is math.Exp.
func exps(xs []float64) {
	const magic = 3 << 51 // adding it rounds to a whole number
	for i, x := range xs {
		if !(x > -700 && x < 700) {
			xs[i] = math.Exp(x)
			continue
		}
		n := x*(64/math.Ln2) + magic
		k := int64(math.Float64bits(n)) << 13 >> 13
		n -= magic
		r := x - n*ln2Hi - n*ln2Lo
		p := 1 + r*(1+r*(1./2+r*(1./6+r*(1./24))))
		xs[i] = math.Float64frombits(math.Float64bits(powers[k&63]*p) + uint64(k>>6)<<52)
	}
}

// ln2/64 in two parts, of which the first has zeros at its end.
const (
	ln2Hi = 6.93147180369123816490e-01 / 64
	ln2Lo = 1.90821492927058770002e-10 / 64
)

// powers are 2^(t/64).
var powers = func() (t [64]float64) {
	for i := range t {
		t[i] = math.Exp2(float64(i) / 64)
	}
	return t
}()
