//go:build cuda

package cuda

// RenewAfter sets how many milliseconds lie between two beginnings of a recorder's clock, until the function it returns is called.
func RenewAfter(ms float64) (restore func()) {
	before := renew
	renew = ms
	return func() { renew = before }
}
