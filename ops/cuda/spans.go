//go:build cuda

package cuda

type recorder struct{}

// span measures the work that is put on the compute stream until the function it returns is called.
func (d *Device) span(string) func() { return func() {} }
