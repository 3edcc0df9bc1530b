// Package fetch downloads published data sets: over HTTPS, going on where a download broke off, and checked against the
// publisher's sum before anything is unpacked.
package fetch
