// Package checkpoint keeps the state of a run on disk so that no crash loses more than the steps since the last save.
//
// A checkpoint is a folder, step-000000200, of two files: tensors.safetensors with any named tensors (parameters,
// velocities, bank, momentum encoder) and state.json with the cursor and everything that is not a tensor. [Save] writes
// both into a folder with a temporary name, syncs each file and the folder, renames it, syncs the parent, and only
// then moves the file "latest". Whatever operation a power cut or kill -9 hits, the checkpoint before it is whole; the
// tests cut at every one of them. Every tensor carries a CRC-32C and state.json one of its own, verified by [Load].
//
// Nothing is compressed. Float32 weights, velocities and unit-length bank rows are nearly random in all but the exponent
// byte: zstd gets 1.00 of the size from the bytes as they are, and 0.85 at 0.3 GB/s of a core from bytes shuffled into
// planes. 200 MB would cost 0.6 s of a core that trains; without it they are checksummed, written and synced in 0.2 s
// for 0.08 s of processor time, and loaded in 0.09 s (2 cores of an EPYC; go test -bench . ./io/checkpoint).
package checkpoint
