// Package kernel holds the CUDA sources of package cuda. One source serves three compilers: NVRTC on the machine with the
// GPU, clang for a check of syntax and PTX, and g++ for the numbers, on the processor.
package kernel

import "embed"

//go:embed *.cu *.h
var files embed.FS

// Main is the file to compile; the others are its includes.
const Main = "all.cu"

// Sources are all files by name.
func Sources() map[string]string {
	out := map[string]string{}
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // embedded
	}
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}
