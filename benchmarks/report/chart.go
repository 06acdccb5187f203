package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/seed450a7203/jwthttp/benchmarks"
)

// writeChart draws the ratios to hand of the admitted request, shortest bar on
// top. The picture has a background of its own, for pages in dark mode.
func writeChart(name string, r results) error {
	series := []struct {
		alg    string
		color  color.Color
		offset vg.Length
	}{
		{"HS256", color.RGBA{R: 0x9e, G: 0xca, B: 0xe1, A: 0xff}, 4.5},
		{"RS256", color.RGBA{R: 0x08, G: 0x51, B: 0x9c, A: 0xff}, -4.5},
	}
	names := chartNames(r)
	p := plot.New()
	p.Title.Text = "Time per request with a good token; a handler over golang-jwt = 1"
	p.Title.Padding = vg.Points(8)
	for _, f := range []*font.Font{
		&p.Title.TextStyle.Font, &p.Legend.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font,
	} {
		f.Variant = "Sans"
	}
	p.BackgroundColor = color.White
	p.NominalY(names...)
	p.X.Min = 0
	p.Legend.Top, p.Legend.Padding = true, vg.Points(3)
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(names)) - 0.5}})
	if err != nil {
		return err
	}
	one.Color, one.Dashes = color.Gray{Y: 0xa0}, []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(one)

	most := 1.0
	for _, s := range series {
		values := make(plotter.Values, len(names))
		labels := plotter.XYLabels{XYs: make(plotter.XYs, len(names)), Labels: make([]string, len(names))}
		for i, contender := range names {
			labels.XYs[i].Y = float64(i)
			u := r.unit(benchmarks.Admitted, s.alg, contender)
			if u == nil {
				continue
			}
			values[i] = medianRatio(u.ns, r.unit(benchmarks.Admitted, s.alg, benchmarks.Hand).ns)
			labels.XYs[i].X, labels.Labels[i] = values[i], label(values[i])
			most = max(most, values[i])
		}
		bars, err := plotter.NewBarChart(values, vg.Points(8))
		if err != nil {
			return err
		}
		bars.Horizontal, bars.Color, bars.Offset = true, s.color, s.offset
		bars.LineStyle.Width = 0
		figures, err := barLabels(labels, s.offset)
		if err != nil {
			return err
		}
		p.Add(bars, figures)
		p.Legend.Add(s.alg, bars)
	}
	p.X.Max = most * 1.08
	p.X.Tick.Marker = wholeNumbers(int(p.X.Max))
	return save(p, 7.2*vg.Inch, vg.Length(len(names)+3)*vg.Points(23), name)
}

func wholeNumbers(most int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i := range most + 1 {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: strconv.Itoa(i)})
	}
	return ticks
}

// save writes p with a margin, which Plot.Save does not leave.
func save(p *plot.Plot, width, height vg.Length, name string) error {
	const margin = 10 // points
	c := vgsvg.New(width, height)
	all := draw.New(c)
	all.SetColor(p.BackgroundColor)
	all.Fill(all.Rectangle.Path())
	p.Draw(draw.Crop(all, margin, -margin, margin, -margin))
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return err
	}
	return os.WriteFile(name, out.Bytes(), 0o644)
}

// chartNames are the contenders by their ratio for RS256, which all know. The
// first one is at the bottom.
func chartNames(r results) []string {
	var names []string
	for _, c := range benchmarks.Contenders() {
		names = append(names, c.Name)
	}
	slices.SortStableFunc(names, func(a, b string) int {
		x, y := r.unit(benchmarks.Admitted, "RS256", a), r.unit(benchmarks.Admitted, "RS256", b)
		return cmp.Compare(median(y.ns), median(x.ns))
	})
	return names
}

func label(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func barLabels(labels plotter.XYLabels, offset vg.Length) (*plotter.Labels, error) {
	l, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	l.Offset = vg.Point{X: vg.Points(3), Y: offset}
	for i := range l.TextStyle {
		l.TextStyle[i] = draw.TextStyle{
			Color: color.Gray{Y: 0x40}, Font: font.From(plot.DefaultFont, 7),
			YAlign: text.YCenter, Handler: plot.DefaultTextHandler,
		}
		l.TextStyle[i].Font.Variant = "Sans"
	}
	return l, nil
}
