// Package safetensors reads and writes the safetensors format: eight bytes of header length, a JSON header that gives
// every tensor a type, a shape and a byte range, then the bytes.
//
// [Open] reads the header only; tensors are read one at a time and can be read concurrently. A file is taken only
// if the ranges cover the data exactly, without holes or overlap, and nothing in it makes the reader allocate more
// than the file is long.
//
// Files written here carry a CRC-32C (Castagnoli) of every tensor in the header's metadata, under "crc32c:NAME" in
// hexadecimal. Other readers ignore it; this one verifies it when it is there.
//
// Source: https://github.com/huggingface/safetensors, "Format".
package safetensors
