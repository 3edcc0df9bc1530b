package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
)

// Page is what a report shows. Sections without content are left out.
type Page struct {
	Title    string
	Subtitle string
	Summary  []Fact
	Notes    []string // what is missing and why
	Tables   []Table  // after the summary
	Charts   []Chart
	Ridges   *Ridges // similarities over time
	Confused *Confusion
	Filters  []Sheet
	Queries  []Query
	Maps     []Scatter
	Stages   [][]string // first row is the header
	Verdict  string
	Drawing  template.URL // of the graph
	Options  []Option
	Commands []Command
}

// Fact is one number of the summary.
type Fact struct{ Name, Value, Note string }

// Table is a table of text, the first row being the header.
type Table struct {
	Title, Note string
	Rows        [][]string
}

// Sheet is a picture with a caption, such as the filters of one tower.
type Sheet struct {
	Caption string
	Image   template.URL
	Width   int // in CSS pixels
}

// Option is one resolved setting and where it came from.
type Option struct{ Name, Value, Origin string }

// Command is a command line and what it does.
type Command struct{ Does, Line string }

// Words are the pieces between which the page may break the line: not at hyphens.
func (c Command) Words() []string { return strings.Split(c.Line, " ") }

// Query is one row of the retrieval grid.
type Query struct {
	Image      template.URL
	Class      string
	Neighbours []Hit
}

// Hit is one neighbour.
type Hit struct {
	Image      template.URL
	Class      string
	Similarity float64
	Right      bool
}

// DataURI embeds an image as JPEG.
func DataURI(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85}); err != nil {
		return "", err
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// PNG embeds an image without loss.
func PNG(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// SVG embeds a drawing that has styles of its own, apart from those of the page.
func SVG(text []byte) template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(text))
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// Write renders the page.
func Write(w io.Writer, p Page) error {
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
