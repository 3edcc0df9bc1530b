// Package bank holds what a batch is contrasted against: Memory, one row an image (instance discrimination, CMC), and
// Queue, the most recent keys (MoCo); the losses over them; and the constant of noise-contrastive estimation.
//
// Everything works on plain slices of unit rows and belongs to one goroutine, which inside uses all cores. Results do
// not depend on their number.
package bank
