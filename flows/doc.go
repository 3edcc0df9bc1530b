// Package flows has the recipes of contrastive pretraining, one a file, each a graph of stages that cites the paper
// it follows. It is the only place where stages, encoders, banks and file formats meet.
package flows
