package flows

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/io/cifar"
	"github.com/contraflow/contraflow/io/fetch"
)

// archives are the data sets that Fetch knows. Sums are those that the CIFAR page publishes and, for STL-10, whose page has
// none, the one that torchvision checks.
var archives = map[string]fetch.Archive{
	"stl10": {URL: "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", MD5: "91f7769df0f17e558f3565bffb0c7dfb", Folder: "stl10_binary",
		Files: []fetch.File{{Name: "train_X.bin", Size: 5000 * 27648}, {Name: "train_y.bin", Size: 5000}, {Name: "test_X.bin", Size: 8000 * 27648},
			{Name: "test_y.bin", Size: 8000}, {Name: "unlabeled_X.bin", Size: 100000 * 27648}, {Name: "class_names.txt"}, {Name: "fold_indices.txt"}}},
	"cifar10":  cifarArchive(cifar.CIFAR10, "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 10000, 10000*3073),
	"cifar100": cifarArchive(cifar.CIFAR100, "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 50000, 10000*3074),
}

func cifarArchive(k cifar.Kind, url, sum string, train int, test int64) fetch.Archive {
	a := fetch.Archive{URL: url, MD5: sum, Folder: k.Folder, Files: []fetch.File{{Name: k.Names}}}
	for _, f := range k.Train {
		a.Files = append(a.Files, fetch.File{Name: f, Size: test / 10000 * int64(train)})
	}
	for _, f := range k.Test {
		a.Files = append(a.Files, fetch.File{Name: f, Size: test})
	}
	return a
}

// Archives are the names of the data sets that Fetch knows, in order.
func Archives() []string { return slices.Sorted(maps.Keys(archives)) }

// Fetch downloads a published data set into out and says which folder it is in. A mirror replaces the publisher's address; what comes
// must have the published sum all the same.
func Fetch(ctx context.Context, name, out, mirror string, o fetch.Options) (string, error) {
	a, ok := archives[name]
	if !ok {
		return "", fmt.Errorf("there is no data set %q to fetch: choose one of %s", name, strings.Join(Archives(), ", "))
	}
	if mirror != "" {
		a.URL = mirror
	}
	return fetch.Get(ctx, a, out, o)
}
