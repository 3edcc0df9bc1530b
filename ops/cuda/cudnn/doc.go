// Package cudnn makes convolutions of the cuDNN 9 graph API, found when the program runs: for one convolution it lists the
// engines that can do it, of which the caller times some and keeps one.
package cudnn
