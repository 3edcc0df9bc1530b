// Package synth draws data sets of procedural scenes and writes them as an ImageFolder tree of baseline JPEG files.
//
// A scene holds one object of its class in front of a background. The class decides the silhouette; texture,
// lightness and colour depend on the class and on each other, as they do in photographs: each class has a habit of
// surface pattern, a pattern is drawn in two colours that belong together, and dark hues are drawn dark. Position,
// scale, rotation, background, lighting and clutter are drawn at random. Colour alone says little about the class.
// Every image is a pure function of (seed, split, class, index).
package synth
