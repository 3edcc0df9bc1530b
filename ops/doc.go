// Package ops describes what a network computes and what a device must do to compute it.
//
// A Graph is a static list of operations with inferred shapes and named parameters; it holds no data. A Device
// compiles it into a Program that runs Forward and Backward on batches. Package ops/cpu is the device every
// machine has; ops/opstest is the suite that every device passes.
package ops
