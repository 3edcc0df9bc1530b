// Package nvrtc compiles CUDA sources to the machine code of a device, with the library found when the program runs.
package nvrtc
