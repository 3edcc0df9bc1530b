// Package cifar reads the binary distributions of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 50,000 training and 10,000 test
// colour images of 32×32.
package cifar
