// Package shard reads and writes data sets as tar shards, in the layout of WebDataset: the members of a sample follow each other
// and share the name before the first dot, KEY.jpg and KEY.cls.
//
// # Reading
//
// A shard lies in a folder or behind an HTTP server that answers range requests. Every sample is read at its place, so that any
// order and any first sample cost the same. Places come from an index: the one that Writer leaves beside each shard, or
// one made by reading the tar headers once and kept in the cache folder. Shards that are compressed as a whole cannot be
// read at a place: a plain copy of each is kept in the cache folder, with an index that has a CRC of every image. A copy that is
// damaged or gone is made anew. The environment variable CONTRAFLOW_CACHE names that folder; without it the user's cache folder
// is taken.
//
// A server that has answered before and fails is asked again for five minutes, with growing pauses. What it does not give in the end
// is an UnreachableError.
//
// # Labels
//
// KEY.cls holds a number, -1 for none, or a class name. Without it the folder in the key is the class; without that there are no
// labels.
//
// # What Writer leaves
//
//	shards.json            classes, and for every split its shards with bytes, samples and SHA-256
//	SPLIT-000000.tar       samples in order; a member that ends in .zst is compressed by itself
//	SPLIT-000000.tar.idx   a line a sample: place, bytes, CRC-32C, label, extension, key; the last line sums the others
//
// The CRC of a sample is checked whenever it is read.
package shard
