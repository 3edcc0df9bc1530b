package ops

// Local is implemented by Params whose tensors lie in the memory of this process. Elementwise work needs no copies then:
// adding up the gradients of replicas, or an optimiser that Params do not have.
type Local interface {
	// Local calls f for every trainable tensor with its value and gradient in the device's own layout, which is the same for
	// every Params of one graph. A layout may have more than s.Len() values: those beyond the last channel are zero and must stay
	// so. f may change the value.
	Local(f func(s ParamSpec, value, grad []float32))
}
