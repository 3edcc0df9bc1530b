// Package torch reads and writes the .pth files of torch.save.
//
// [Open] reads both containers: the zip archive of PyTorch 1.6 and later, and the consecutive pickles of everything
// before it. A pickle is a program, and a .pth from the network is somebody else's program. This package runs an own
// small machine with the opcodes of protocols 0 to 4 that build data. It knows the globals of the list in allowed.go
// by name and imports nothing; any other global, and every opcode that could make an object of another class, ends
// the reading with one line that names it.
//
// What a file can cost is bounded before it is spent: strings and storages have to be in the file, what the pickle
// builds is charged against a budget of 64 MiB, the value tree has at most 64 levels and no cycles, and a
// tensor is only read when asked for. The general unpickler github.com/nlpodyssey/gopickle was tried for this and
// put aside: it allocates the two gigabytes that a 154-byte file announces, and returns without an error a tensor
// with a negative offset and one of 10^6 elements over a storage of 8.
//
// [File.Checkpoint] understands the dictionaries of the CMC, MoCo, InsDis and linear-probe scripts, whatever
// DataParallel prefixes their keys carry. [Write] produces a zip that torch.load takes, with weights_only=True too if
// it holds no argparse.Namespace ([WriteOptions.PlainNamespace]).
package torch
