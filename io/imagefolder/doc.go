// Package imagefolder reads data sets that lie as one folder of images a class.
package imagefolder
