package neon

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every word in the assembly is the instruction that its comment names, says binutils.
func TestWords(t *testing.T) {
	objdump, err := exec.LookPath("aarch64-linux-gnu-objdump")
	if err != nil {
		t.Skip("Debian: apt-get install binutils-aarch64-linux-gnu")
	}
	for _, file := range []string{"../../cpu/kernels_arm64.s", "../../pixel/kernels_arm64.s", "../../../io/jpeg/kernels_arm64.s"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var code []byte
		var want []string
		for _, m := range regexp.MustCompile(`WORD \$(0x\w{8}) // V(\S+) (.*)\n`).FindAllStringSubmatch(string(text), -1) {
			word, err := strconv.ParseUint(m[1], 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			code, want = binary.LittleEndian.AppendUint32(code, uint32(word)), append(want, gnu(m[2], m[3]))
		}
		if strings.Count(string(text), "WORD ") != len(want) || len(want) < 100 {
			t.Fatalf("%s: %d words of %d have a name", file, len(want), strings.Count(string(text), "WORD "))
		}
		binary := filepath.Join(t.TempDir(), "code")
		if err := os.WriteFile(binary, code, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", binary).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := regexp.MustCompile(`(?m)^ +\w+:\t\w+ \t(\S+)\t(.*)$`).FindAllStringSubmatch(string(out), -1)
		if len(lines) != len(want) {
			t.Fatalf("%s: %d words disassemble to %d lines", file, len(want), len(lines))
		}
		for i, m := range lines {
			if got := m[1] + " " + m[2]; got != want[i] {
				t.Errorf("%s: a word is %s, want %s", file, got, want[i])
			}
		}
	}
}

// gnu is an instruction as binutils write it: the destination first, V1.S4 as v1.4s and V1.S[2] as v1.s[2].
func gnu(name, operands string) string {
	list := strings.Split(operands, ", ")
	if shift, ok := strings.CutPrefix(list[0], "$"); ok {
		list = append(list[1:], "#"+shift)
		slices.Reverse(list[:len(list)-1])
	} else {
		slices.Reverse(list)
	}
	swapped := regexp.MustCompile(`\.([BHSD])(\d+)`).ReplaceAllString(strings.Join(list, ", "), ".$2$1")
	return strings.ToLower(name + " " + swapped)
}
