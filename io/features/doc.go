// Package features keeps features of a data set, one row an image: a memory-mapped matrix for those that are read again and
// again, and files for other programs, as .npy, .safetensors or .parquet.
package features
