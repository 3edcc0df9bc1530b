package main

import "math"

// labs writes RGB planes to normalised Lab, eight pixels at a time, in the order of labOf's operations, so that the bits are the
// same. See labArgs.
func labs(a, d *asm) {
	f := func(name string, v float32) { a.dwords(name, math.Float32bits(v)) }
	f("knee", 0.008856)
	f("slope", 7.787)
	f("offset", 16.0/116)
	f("third", 1.0/3)
	a.dwords("guess", 709921077)
	d.p("// labAsm is labGo of n pixels, a multiple of 8.\n//\n//go:noescape\nfunc labAsm(p *labArgs)\n")
	a.p("// func labAsm(p *labArgs)\nTEXT ·labAsm(SB), NOSPLIT, $0-8")
	a.p("\tMOVQ p+0(FP), R15\n\tMOVQ 0(R15), DI\n\tMOVQ 8(R15), R8\n\tMOVQ 16(R15), R9\n\tMOVQ 24(R15), SI\n\tMOVQ 32(R15), DX\n\tMOVQ 40(R15), R10\n\tMOVQ 48(R15), R11\n\tMOVQ 56(R15), CX\n\tXORQ BX, BX")
	a.p("lb_l:")
	for i, src := range []string{"SI", "DX", "R10"} {
		a.p("\tVPMOVZXBD (%s)(BX*1), Y3\n\tVPCMPEQD Y4, Y4, Y4\n\tVGATHERDPS Y4, (R11)(Y3*4), Y%d", src, i)
	}
	for row := range 3 { // x, y, z in Y3, Y4, Y5
		a.p("\tVBROADCASTSS %d(R15), Y6\n\tVMULPS Y6, Y0, Y%d\n\tVBROADCASTSS %d(R15), Y7\n\tVMULPS Y7, Y1, Y7\n\tVADDPS Y7, Y%d, Y%d\n\tVBROADCASTSS %d(R15), Y8\n\tVMULPS Y8, Y2, Y8\n\tVADDPS Y8, Y%d, Y%d",
			64+12*row, 3+row, 68+12*row, 3+row, 3+row, 72+12*row, 3+row, 3+row)
	}
	a.p("\tVMOVUPS knee<>(SB), Y15\n\tVMOVUPS third<>(SB), Y14\n\tVMOVDQU guess<>(SB), Y13")
	for i := 3; i < 6; i++ { // f in the same registers
		a.p("\tVMAXPS Y15, Y%d, Y6\n\tVCVTDQ2PS Y6, Y7\n\tVMULPS Y14, Y7, Y7\n\tVCVTTPS2DQ Y7, Y7\n\tVPADDD Y13, Y7, Y7", i)
		for range 2 {
			a.p("\tVMULPS Y7, Y7, Y8\n\tVMULPS Y7, Y8, Y8\n\tVADDPS Y6, Y8, Y9\n\tVADDPS Y6, Y9, Y9\n\tVMULPS Y9, Y7, Y9\n\tVADDPS Y8, Y8, Y8\n\tVADDPS Y6, Y8, Y8\n\tVDIVPS Y8, Y9, Y7")
		}
		a.p("\tVMULPS slope<>(SB), Y%d, Y8\n\tVADDPS offset<>(SB), Y8, Y8\n\tVCMPPS $14, Y15, Y%d, Y9\n\tVBLENDVPS Y9, Y7, Y8, Y%d", i, i, i)
	}
	a.p("\tVSUBPS Y4, Y3, Y3\n\tVSUBPS Y5, Y4, Y5")
	for i, r := range []int{4, 3, 5} {
		a.p("\tVBROADCASTSS %d(R15), Y6\n\tVMULPS Y6, Y%d, Y%d\n\tVBROADCASTSS %d(R15), Y7\n\tVADDPS Y7, Y%d, Y%d\n\tVMOVUPS Y%d, (%s)(BX*4)",
			100+4*i, r, r, 112+4*i, r, r, r, []string{"DI", "R8", "R9"}[i])
	}
	a.p("\tADDQ $8, BX\n\tCMPQ BX, CX\n\tJLT lb_l\n\tVZEROUPPER\n\tRET\n")
}
