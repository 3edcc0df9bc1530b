// Package opstest is the suite that every ops.Device passes.
//
// The yardstick is a slow float64 evaluation of the same graph, written plainly in the order of the definitions
// (channels first, no fusion, no shared buffers). Its own gradients are checked against central differences, which float64
// makes exact enough to leave no doubt, and the device is then held to it.
package opstest
