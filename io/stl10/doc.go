// Package stl10 reads the binary distribution of STL-10 (Coates, Lee, Ng, AISTATS 2011): 5,000 training, 8,000 test and
// 100,000 unlabeled colour images of 96×96.
package stl10
