// Package driver adds to gorgonia.org/cu the driver calls that it lacks, through the same library handle: pinned memory,
// function attributes, stream capture and graphs, texts of errors, and a launcher that packs arguments without
// allocating and may be given values of any size (cu's reads eight bytes from every one).
package driver
