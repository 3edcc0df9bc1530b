// Package stages has the nouns of contrastive training, one a file: each is a value whose method is a stage of a
// graph, can be called without one, and asks for what it needs through small interfaces.
package stages
