// Package report writes a run's report: one HTML file that needs nothing else, with charts drawn as inline SVG and images
// embedded.
package report
