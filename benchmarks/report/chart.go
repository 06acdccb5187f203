package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"io"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

// Lengths in points. 600 points are 800 pixels, about the width of a page on
// GitHub.
const (
	chartWidth  = 600
	rowHeight   = 14
	barWidth    = 9
	figureSize  = 8
	chartMargin = 10
)

// bar is the time of one contender for the admitted request.
type bar struct {
	contender    string
	microseconds float64
	ratio        float64 // to hand
}

// side is a kind of contender.
type side struct {
	name  string
	color color.Color
}

var (
	ourSide   = side{"jwthttp", color.RGBA{R: 0xd9, G: 0x48, B: 0x0f, A: 0xff}}
	handSide  = side{"hand: a handler over golang-jwt", color.RGBA{R: 0x2f, G: 0x5d, B: 0x8a, A: 0xff}}
	otherSide = side{"others", color.RGBA{R: 0x9f, G: 0xc0, B: 0xdd, A: 0xff}}
	floorSide = side{"golang-jwt's Verify alone", color.Gray{Y: 0xb0}}
)

func sideOf(contender string) side {
	switch {
	case contender == benchmarks.SignatureAlone:
		return floorSide
	case contender == benchmarks.Hand:
		return handSide
	case strings.HasPrefix(contender, benchmarks.Ours):
		return ourSide
	}
	return otherSide
}

// writeChart draws the times of the admitted request in a panel for each of two
// algorithms: the fastest signature and the most common one.
func writeChart(w io.Writer, r results) error {
	var panels [][]*plot.Plot
	rows := 0
	for i, alg := range []string{"HS256", "RS256"} {
		bars := barsOf(r, alg)
		p, err := newPanel(alg, bars, i == 0)
		if err != nil {
			return err
		}
		panels = append(panels, []*plot.Plot{p})
		rows += len(bars) + 3 // for the title
	}
	return drawPanels(w, panels, vg.Length(rows)*rowHeight)
}

// barsOf returns the bars from bottom to top, the slowest first.
func barsOf(r results, alg string) []bar {
	var bars []bar
	hand := r.unit(benchmarks.Admitted, alg, benchmarks.Hand)
	for _, c := range benchmarks.Timed(benchmarks.Admitted) {
		if u := r.unit(benchmarks.Admitted, alg, c.Name); u != nil {
			bars = append(bars, bar{c.Name, median(u.ns) / 1000, medianRatio(u.ns, hand.ns)})
		}
	}
	slices.SortStableFunc(bars, func(a, b bar) int { return cmp.Compare(b.microseconds, a.microseconds) })
	return bars
}

func newPanel(alg string, bars []bar, legend bool) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = alg + ", a valid token: microseconds per request (and the ratio to hand)"
	p.Title.Padding = vg.Points(6)
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.Legend.TextStyle.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
	}
	names := make([]string, len(bars))
	for i, b := range bars {
		names[i] = b.contender
	}
	p.NominalY(names...)
	p.HideX() // the bars have figures
	for _, s := range []side{ourSide, handSide, otherSide, floorSide} {
		drawn, err := barsOfSide(bars, s)
		if err != nil {
			return nil, err
		}
		p.Add(drawn)
		if legend {
			p.Legend.Add(s.name, drawn)
		}
	}
	p.Legend.Top, p.Legend.Padding = true, vg.Points(3)
	figures, err := figuresOf(bars)
	if err != nil {
		return nil, err
	}
	p.Add(figures)
	p.X.Min, p.X.Max = 0, bars[0].microseconds*1.17 // room for the label of the longest bar
	return p, nil
}

// barsOfSide leaves the places of bars of other sides empty.
func barsOfSide(bars []bar, s side) (*plotter.BarChart, error) {
	values := make(plotter.Values, len(bars))
	for i, b := range bars {
		if sideOf(b.contender) == s {
			values[i] = b.microseconds
		}
	}
	chart, err := plotter.NewBarChart(values, vg.Points(barWidth))
	if err != nil {
		return nil, err
	}
	chart.Horizontal, chart.Color = true, s.color
	chart.LineStyle.Width = 0
	return chart, nil
}

// figuresOf returns the labels at the ends of the bars.
func figuresOf(bars []bar) (*plotter.Labels, error) {
	labels := plotter.XYLabels{XYs: make(plotter.XYs, len(bars)), Labels: make([]string, len(bars))}
	for i, b := range bars {
		labels.XYs[i] = plotter.XY{X: b.microseconds, Y: float64(i)}
		labels.Labels[i] = fmt.Sprintf("%s (%s)", decimals(b.microseconds, 1), decimals(b.ratio, 2))
	}
	l, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	l.Offset = vg.Point{X: vg.Points(3)}
	for i := range l.TextStyle {
		l.TextStyle[i] = draw.TextStyle{
			Color: color.Gray{Y: 0x30}, Font: font.From(plot.DefaultFont, figureSize),
			YAlign: text.YCenter, Handler: plot.DefaultTextHandler,
		}
		l.TextStyle[i].Font.Variant = "Sans"
	}
	return l, nil
}

// decimals formats v with n decimals, and with one more if it is small.
func decimals(v float64, n int) string {
	if v < 0.1 || n == 1 && v < 1 {
		n++
	}
	return strconv.FormatFloat(v, 'f', n, 64)
}

// drawPanels draws the panels one below the other on white, because pages in dark
// mode are not, and with a margin, which Plot.Save does not leave.
func drawPanels(w io.Writer, panels [][]*plot.Plot, height vg.Length) error {
	c := vgsvg.New(chartWidth, height)
	all := draw.New(c)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	inner := draw.Crop(all, chartMargin, -chartMargin, chartMargin, -chartMargin)
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: chartMargin}
	for i, row := range plot.Align(panels, tiles, inner) {
		panels[i][0].Draw(row[0])
	}
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return err
	}
	// Where the font is missing, browsers would use one with serifs. Arial has the
	// same metrics.
	const family = "font-family:Liberation Sans"
	_, err := w.Write(bytes.ReplaceAll(out.Bytes(), []byte(family), []byte(family+",Arial,Helvetica,sans-serif")))
	return err
}
