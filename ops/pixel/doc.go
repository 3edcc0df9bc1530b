// Package pixel has the operations on 8-bit pictures that training pictures go through, bit for bit as Pillow and
// torchvision do them, and the colour spaces of scikit-image.
package pixel

//go:generate sh -c "cd _gen && go run . .."
