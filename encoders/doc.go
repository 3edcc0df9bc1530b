// Package encoders describes the networks that turn images into features and embeddings, as ops graphs whose
// parameters have the names and shapes of the reference's state dictionaries.
package encoders
