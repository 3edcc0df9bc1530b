// Package prometheus answers Prometheus' scrapes with the numbers of a running graph and of its training.
package prometheus
