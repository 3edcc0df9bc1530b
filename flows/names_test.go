package flows

import "testing"

func TestCounted(t *testing.T) {
	for want, got := range map[string]string{
		"1 class": counted(1, "class"), "2 classes": counted(2, "class"), "0 images": counted(0, "image"), "3 cached batches": counted(3, "cached batch"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
