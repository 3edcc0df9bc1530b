// Package jpeg decodes pictures: JPEG with libjpeg-turbo where the machine has it, found when the program runs, and
// everything else, or everything without it, in Go. libjpeg-turbo gives the pixels that Pillow gives.
package jpeg
