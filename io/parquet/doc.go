// Package parquet reads image data sets as Hugging Face stores them: Parquet files with a column of structs {bytes, path},
// and a column of labels whose class names are in the metadata.
//
// Any row is read at its place: opening a file walks the page headers of its image column once, and reading a row
// decompresses the one page that holds it.
package parquet
