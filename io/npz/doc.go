// Package npz reads and writes NumPy's .npy arrays and the .npz archives of them.
//
// Element types are those of package raw, in either byte order and in C or Fortran order; arrays of strings, objects
// (which are pickles) and records are refused by name. No size in a file is believed before it is checked: a record
// must have exactly the bytes that its header's shape needs, and a compressed one grows only as its data arrives.
//
// github.com/sbinet/npyio was tried for this and put aside: it panics on a header without a newline, allocates what a
// version 2 header claims (up to 4 GiB), reads one element a call, and has no float16.
//
// Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
package npz
