package flows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/io/torch"
)

// appendJSON writes the options of a .pth so that parseJSON gives the same ones back: keys in order, and a float with
// a point or an exponent even when it is whole. Values that JSON has no form for become their text.
func appendJSON(b []byte, v torch.Value) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return appendJSON(b, fmt.Sprint(v))
		}
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return append(b, text...)
	case torch.NumPy:
		return appendJSON(b, v.Value)
	case *torch.Tensor:
		return appendJSON(b, fmt.Sprintf("tensor of shape %v", v.Shape))
	case *torch.List:
		return appendItems(b, v.Items)
	case torch.Tuple:
		return appendItems(b, v)
	case *torch.Dict:
		b = append(b, '{')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			key, value := v.At(i)
			b = append(appendJSON(b, fmt.Sprint(key)), ':')
			b = appendJSON(b, value)
		}
		return append(b, '}')
	}
	text, err := json.Marshal(fmt.Sprint(v))
	if err != nil {
		panic(err) // a string always has a form
	}
	return append(b, text...)
}

func appendItems(b []byte, items []torch.Value) []byte {
	b = append(b, '[')
	for i, v := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, v)
	}
	return append(b, ']')
}

// parseJSON reads one JSON value: objects as ordered dicts, numbers without point and exponent as ints.
func parseJSON(text []byte) (torch.Value, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return nextJSON(dec)
}

func nextJSON(dec *json.Decoder) (torch.Value, error) {
	t, err := dec.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		list, dict := &torch.List{}, torch.NewDict(torch.PlainDict)
		for dec.More() {
			var key torch.Value
			if t == '{' {
				if key, err = dec.Token(); err != nil {
					return nil, err
				}
			}
			v, err := nextJSON(dec)
			if err != nil {
				return nil, err
			}
			if t == '{' {
				dict.Set(key, v)
			} else {
				list.Items = append(list.Items, v)
			}
		}
		if _, err := dec.Token(); err != nil {
			return nil, err
		}
		if t == '{' {
			return dict, nil
		}
		return list, nil
	}
	return t, nil
}
