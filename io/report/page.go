package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"io"
)

// Page is what a report shows. Sections without content are left out.
type Page struct {
	Title    string
	Summary  []Fact
	Charts   []Chart
	Queries  []Query
	Map      *Scatter
	Stages   [][]string // first row is the header
	Verdict  string
	Drawing  template.HTML // of the graph, trusted SVG
	Options  []Option
	Commands []string
}

// Fact is one number of the summary.
type Fact struct{ Name, Value, Note string }

// Option is one resolved setting and where it came from.
type Option struct{ Name, Value, Origin string }

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

// Write renders the page.
func Write(w io.Writer, p Page) error {
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{.Title}}</title>
<style>
:root{--ink:#1d2430;--soft:#5b6675;--line:#d9dee6;--paper:#fff;--card:#f6f7f9;--good:#1b8a5a;--bad:#c03434}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b4;--line:#39414d;--paper:#14181e;--card:#1d232b;--good:#4ec38f;--bad:#ef7a7a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1180px;margin:0 auto;padding:24px}
h1{font-size:25px;margin:0 0 4px}h2{font-size:18px;margin:34px 0 10px;border-bottom:1px solid var(--line);padding-bottom:4px}
.facts{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}.fact{background:var(--card);border-radius:8px;padding:10px 16px;min-width:120px}
.fact b{display:block;font-size:22px}.fact small,.soft{color:var(--soft)}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:20px}figure{margin:0}figcaption{font-weight:600;margin-bottom:4px}
svg{width:100%;height:auto;font-size:11px}svg text{fill:var(--soft)}svg .grid{stroke:var(--line)}
.legend{font-size:12px;color:var(--soft);margin:2px 0}.legend span{margin-right:10px;white-space:nowrap}.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:4px;vertical-align:-1px}.legend i.dash{height:0;border-top:2px dashed;border-radius:0;vertical-align:3px;background:none}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 10px;text-align:right;border-bottom:1px solid var(--line)}td:first-child,th:first-child{text-align:left}
.wide{overflow-x:auto}.row{display:flex;gap:8px;align-items:flex-start;margin-bottom:10px}.row figure{width:78px;font-size:11px;text-align:center;color:var(--soft)}
.row img{width:72px;height:72px;display:block;border-radius:4px;border:3px solid transparent}.row .query img{border-color:var(--ink)}.row .right img{border-color:var(--good)}.row .wrong img{border-color:var(--bad)}
pre{background:var(--card);padding:10px 14px;border-radius:8px;overflow-x:auto}
</style></head><body>
<h1>{{.Title}}</h1>
{{if .Summary}}<div class="facts">{{range .Summary}}<div class="fact"><small>{{.Name}}</small><b>{{.Value}}</b><small>{{.Note}}</small></div>{{end}}</div>{{end}}
{{if .Charts}}<h2>Training</h2><div class="grid2">{{range .Charts}}<figure><figcaption>{{.Title}}</figcaption>{{.SVG}}</figure>{{end}}</div>{{end}}
{{if .Queries}}<h2>Nearest neighbours</h2><p class="soft">Left a validation image, then the eight training images with the most similar features; green frames share its class.</p>
{{range .Queries}}<div class="row"><figure class="query"><img src="{{.Image}}" alt="query, {{.Class}}">{{.Class}}</figure>{{range .Neighbours}}<figure class="{{if .Right}}right{{else}}wrong{{end}}"><img src="{{.Image}}" alt="{{.Class}}">{{printf "%.2f" .Similarity}}</figure>{{end}}</div>{{end}}{{end}}
{{with .Map}}<h2>Map of the features</h2><p class="soft">Validation features on their first two principal components.</p><figure style="max-width:560px">{{.SVG}}</figure>{{end}}
{{if .Stages}}<h2>Where the time went</h2><p>{{.Verdict}}</p><div class="wide"><table>{{range $i, $r := .Stages}}<tr>{{range $r}}{{if eq $i 0}}<th>{{.}}</th>{{else}}<td>{{.}}</td>{{end}}{{end}}</tr>{{end}}</table></div>{{end}}
{{if .Drawing}}<div class="wide">{{.Drawing}}</div>{{end}}
{{if .Options}}<h2>Options</h2><div class="wide"><table><tr><th>option</th><th>value</th><th>origin</th></tr>{{range .Options}}<tr><td>{{.Name}}</td><td>{{.Value}}</td><td>{{.Origin}}</td></tr>{{end}}</table></div>{{end}}
{{if .Commands}}<h2>Again</h2><pre>{{range .Commands}}{{.}}
{{end}}</pre>{{end}}
</body></html>
`))
