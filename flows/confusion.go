package flows

import (
	"bytes"
	"encoding/json"
)

// counts is a confusion matrix: images by true class and, unless there are none, found class.
type counts []map[int]int

// fullMatrix is the largest number of classes whose matrix is written with its zeros.
const fullMatrix = 1000

func confusion(all []probeGuess, classes int) counts {
	c := make(counts, classes)
	for i := range c {
		c[i] = map[int]int{}
	}
	for _, g := range all {
		c[g.label][g.found]++
	}
	return c
}

// MarshalJSON writes a list of rows, which are lists; with many classes they are objects of what is not zero, as a list would be
// nearly all zeros.
func (c counts) MarshalJSON() ([]byte, error) {
	if len(c) > fullMatrix {
		return json.Marshal([]map[int]int(c))
	}
	full := make([][]int, len(c))
	for i, row := range c {
		full[i] = make([]int, len(c))
		for j, n := range row {
			full[i][j] = n
		}
	}
	return json.Marshal(full)
}

// UnmarshalJSON reads rows of either kind, for any number of classes.
func (c *counts) UnmarshalJSON(text []byte) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		return err
	}
	*c = make(counts, len(rows))
	for i, text := range rows {
		row := map[int]int{}
		(*c)[i] = row
		if !bytes.HasPrefix(text, []byte("[")) {
			if err := json.Unmarshal(text, &row); err != nil {
				return err
			}
			continue
		}
		var list []int
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		for j, n := range list {
			if n != 0 {
				row[j] = n
			}
		}
	}
	return nil
}
