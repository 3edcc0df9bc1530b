package main

func Example() {
	main()
	// Output:
	// square 0!
	// square 1!
	// square 4!
	// square 9!
}
