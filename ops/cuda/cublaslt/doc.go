// Package cublaslt multiplies matrices with cuBLASLt, found when the program runs. Everything is row major here; the library
// is column major, so it computes transposes.
package cublaslt
