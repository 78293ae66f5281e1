//! Charts as pictures.

use std::fmt::Write as _;

use super::ruler::{FEWEST_MARKS, Mark, Ruler};
use super::{Chart, ChartPoint, Series};

/// Smallest picture.
const SMALLEST: (u32, u32) = (320, 240);
/// Least height of the part with the lines; a picture grows where its legend leaves less.
const LEAST_PLOT: f64 = 120.0;
const FONT: f64 = 12.0;
const TITLE_FONT: f64 = 15.0;
const ROW: f64 = 20.0;
const EDGE: f64 = 12.0;
/// Most markers on one line; of more points, every so many has one.
const MAX_MARKERS: usize = 24;
/// Width of the piece of line before a name in the legend.
const SAMPLE: f64 = 36.0;

/// Colours of the lines on a light and on a dark ground. They were searched for: each two are at least 30 apart in
/// CIELAB, also as seen without one of the three kinds of cones (simulated after Machado and others 2009), and the
/// contrast of each with its ground is at least 3.
const COLOURS: [(&str, &str); 6] = [
    ("#6900ff", "#4a80ff"),
    ("#dc7500", "#c12f16"),
    ("#00a473", "#48ff96"),
    ("#bc59d6", "#bd5b9b"),
    ("#742c00", "#f2dc06"),
    ("#404048", "#d8ffff"),
];

/// Dashes of the lines. There is one more than colours, so that they go on to differ where the colours repeat.
const DASHES: [&str; 7] = ["", "6 3", "2 3", "9 3 2 3", "9 5", "4 2 1 2", "1 2"];

const STYLE: &str = "\
.chart text{font-family:system-ui,sans-serif;font-size:12px;fill:#1f2328}\
.chart .title{font-size:15px;font-weight:600}\
.chart .soft{fill:#59636e}\
.chart .ground{fill:#ffffff}\
.chart .grid{stroke:#d8dee4}\
.chart .axis{stroke:#59636e;fill:none}";

const DARK_STYLE: &str = "\
.chart text{fill:#e6edf3}\
.chart .soft{fill:#9da7b3}\
.chart .ground{fill:#0d1117}\
.chart .grid{stroke:#2d333b}\
.chart .axis{stroke:#9da7b3}";

/// The part with the lines, in pixels.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// An entry of the legend.
struct LegendEntry<'a> {
    series: usize,
    name: &'a str,
    shown: String,
    /// Its left end.
    x: f64,
    row: usize,
}

impl Chart {
    /// Returns the chart as an SVG image of so many pixels. It is 320 pixels wide and 240 high at least, and higher
    /// than asked if the legend needs more room.
    ///
    /// Colours follow the reader's choice of a dark or light scheme. Lines differ in dashes and markers, too. Text that
    /// is too long is cut; the titles of the image and of its parts have it whole.
    pub fn to_svg(&self, width: u32, height: u32) -> String {
        self.image(width, height, 0.0).0
    }

    /// Returns the image, which stands `y_place` pixels below the top of the one around it, and its height.
    fn image(&self, width: u32, height: u32, y_place: f64) -> (String, f64) {
        let (width, height) = (f64::from(width.max(SMALLEST.0)), f64::from(height.max(SMALLEST.1)));
        let entries = legend(&self.series, width);
        let legend_rows = entries.last().map_or(0, |last| last.row + 1);
        let note = self.left_out_note();
        let top = if self.title.is_empty() { 1.5 * EDGE } else { 44.0 };
        let rows_below = 1 + usize::from(!self.x.name.is_empty()) + legend_rows + usize::from(note.is_some());
        let below = rows_below as f64 * ROW + EDGE;
        let plot_height = (height - top - below).max(LEAST_PLOT);
        let height = top + plot_height + below;

        let mut y = Ruler::new(&self.y, self.y_span(), ((plot_height / 36.0) as usize).min(8));
        shorten_labels(&mut y, width);
        let y_labels = y.marks.iter().map(|mark| text_width(&mark.text, FONT)).fold(0.0, f64::max);
        let name_column = if self.y.name.is_empty() { 0.0 } else { ROW };
        let left = (EDGE + name_column + y_labels + 8.0).ceil();
        let (x, left, right) = horizontal(self, left, width);
        let plot = Plot { left, right, top, bottom: top + plot_height };

        let mut svg = String::new();
        let place = if y_place == 0.0 { String::new() } else { format!(" y=\"{y_place:.0}\"") };
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\"{place} \
             viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">"
        );
        let _ = writeln!(svg, "<title>{}</title>", escaped(&self.title));
        let _ = writeln!(svg, "<desc>{}</desc>", escaped(&self.description()));
        let _ = writeln!(svg, "<style>{}</style>", style());
        svg.push_str("<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n");
        if !self.title.is_empty() {
            let title = shortened(&self.title, TITLE_FONT * 1.1, width - 2.0 * EDGE);
            svg.push_str(&text(EDGE, 26.0, "start", "title", &title));
        }
        self.draw_axes(&mut svg, &plot, (&x, &y));
        for (index, series) in self.series.iter().enumerate() {
            self.draw_series(&mut svg, &plot, (&x, &y), index, series);
        }
        let mut baseline = plot.bottom + ROW + if self.x.name.is_empty() { 0.0 } else { ROW };
        for entry in &entries {
            draw_entry(&mut svg, entry, baseline + (entry.row + 1) as f64 * ROW - 2.0);
        }
        if let Some(note) = note {
            baseline += (legend_rows + 1) as f64 * ROW - 2.0;
            let note = shortened(&note, FONT, width - 2.0 * EDGE);
            svg.push_str(&text(EDGE, baseline, "start", "soft", &note));
        }
        svg.push_str("</svg>\n");
        (svg, height)
    }

    /// Says in words what the chart shows, for those who do not see it.
    fn description(&self) -> String {
        let mut words = format!("{} against {}.", self.y.name, self.x.name);
        for series in &self.series {
            let points: Vec<&ChartPoint> = self.runs(series).flatten().collect();
            let name = &series.name;
            let (Some(first), Some(last)) = (points.first(), points.last()) else {
                let _ = write!(words, " {name}: no points.");
                continue;
            };
            let [from, to] = [first, last].map(|point| {
                format!("{} at {}", self.y.numbers.short(point.y), self.x.numbers.short(point.x))
            });
            let count = crate::units::counted(points.len(), "point");
            let _ = write!(words, " {name}: {count}, from {from} to {to}.");
        }
        words
    }

    fn draw_axes(&self, svg: &mut String, plot: &Plot, (x, y): (&Ruler, &Ruler)) {
        let Plot { left, right, top, bottom } = *plot;
        for mark in &y.marks {
            let at = plot.down(mark.place);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>");
            svg.push_str(&text(left - 8.0, at + 4.0, "end", "soft", &mark.text));
        }
        let mut labels_end = f64::NEG_INFINITY;
        for (mark, at, width) in labels(x, plot.left, plot.right) {
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {top:.1}V{:.1}\"/>", bottom + 4.0);
            if at - width / 2.0 >= labels_end {
                svg.push_str(&text(at, bottom + 17.0, "middle", "soft", &mark.text));
                labels_end = at + width / 2.0 + 8.0;
            }
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
        let (middle, centre) = ((left + right) / 2.0, (top + bottom) / 2.0);
        if !self.x.name.is_empty() {
            let room = 2.0 * (middle - EDGE).min(right + EDGE - middle);
            svg.push_str(&text(middle, bottom + 36.0, "middle", "", &shortened(&self.x.name, FONT, room)));
        }
        if !self.y.name.is_empty() {
            let name = escaped(&shortened(&self.y.name, FONT, bottom - top));
            let _ = writeln!(
                svg,
                "<text text-anchor=\"middle\" \
                 transform=\"translate({:.1} {centre:.1}) rotate(-90)\">{name}</text>",
                EDGE + FONT - 2.0
            );
        }
        if self.drawn().next().is_none() {
            svg.push_str(&text(middle, centre, "middle", "soft", "no points"));
        }
    }

    fn draw_series(
        &self,
        svg: &mut String,
        plot: &Plot,
        (x, y): (&Ruler, &Ruler),
        index: usize,
        series: &Series,
    ) {
        let _ = writeln!(svg, "<g class=\"{}\"><title>{}</title>", colour(index), escaped(&series.name));
        let at = |value: f64, height: f64| {
            format!("{:.1} {:.1}", plot.across(x.place(value)), plot.down(y.place(height)))
        };
        let every = self.runs(series).map(<[_]>::len).sum::<usize>().div_ceil(MAX_MARKERS).max(1);
        for run in self.runs(series) {
            for piece in run.split(|point| point.drawn_band().is_none()).filter(|piece| !piece.is_empty()) {
                let bands = || {
                    piece
                        .iter()
                        .filter_map(|point| point.drawn_band().map(|(low, high)| (point.x, low, high)))
                };
                let upper = bands().map(|(x, _, high)| at(x, high));
                let lower = bands().rev().map(|(x, low, _)| at(x, low));
                // The band of a single point is a bar.
                let stroke =
                    if piece.len() == 1 { " stroke=\"currentColor\" stroke-opacity=\"0.4\"" } else { "" };
                let _ = writeln!(
                    svg,
                    "<path fill=\"currentColor\" fill-opacity=\"0.16\"{stroke} d=\"M{}Z\"/>",
                    joined(upper.chain(lower))
                );
            }
            if run.len() > 1 {
                let line = joined(run.iter().map(|point| at(point.x, point.y)));
                let _ = writeln!(svg, "<path {} d=\"M{line}\"/>", stroke(index));
            }
        }
        for point in self.runs(series).flatten().step_by(every) {
            let (across, down) = (plot.across(x.place(point.x)), plot.down(y.place(point.y)));
            svg.push_str(&marker(index, across, down));
        }
        svg.push_str("</g>\n");
    }
}

impl Plot {
    fn across(&self, place: f64) -> f64 {
        self.left + place * (self.right - self.left)
    }

    fn down(&self, place: f64) -> f64 {
        self.bottom - place * (self.bottom - self.top)
    }
}

/// Returns charts as one SVG image, one below the other. Each is as [`Chart::to_svg`] draws it.
pub fn column(charts: &[Chart], width: u32, height: u32) -> String {
    if let [chart] = charts {
        return chart.to_svg(width, height);
    }
    let (mut inner, mut below) = (String::new(), 0.0);
    for chart in charts {
        let (image, height) = chart.image(width, height, below);
        inner.push_str(&image);
        below += height;
    }
    let width = width.max(SMALLEST.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {below:.0}\" width=\"{width}\" \
         height=\"{below:.0}\">\n{inner}</svg>\n"
    )
}

/// Cuts labels that would leave no room for the lines.
fn shorten_labels(ruler: &mut Ruler, width: f64) {
    for mark in &mut ruler.marks {
        mark.text = shortened(&mark.text, FONT, width / 3.0);
    }
}

/// Returns the horizontal axis with as many marks as there is room for, and its ends.
fn horizontal(chart: &Chart, left: f64, width: f64) -> (Ruler, f64, f64) {
    let mut most = 10;
    loop {
        let mut x = Ruler::new(&chart.x, chart.x_span(), most);
        shorten_labels(&mut x, width);
        let half = |mark: Option<&Mark>| mark.map_or(0.0, |mark| text_width(&mark.text, FONT) / 2.0);
        let left = left.max(EDGE / 2.0 + half(x.marks.first())).ceil();
        let right = (width - EDGE - half(x.marks.last())).floor();
        let labels: Vec<_> = labels(&x, left, right).collect();
        let fits = labels.windows(2).all(|pair| {
            let ((_, one, width), (_, next, next_width)) = (&pair[0], &pair[1]);
            next - one >= (width + next_width) / 2.0 + FONT
        });
        if fits || most == FEWEST_MARKS {
            drop(labels);
            return (x, left, right);
        }
        most -= 1;
    }
}

/// Yields the marks of a horizontal axis with their place and the width of their text.
fn labels(x: &Ruler, left: f64, right: f64) -> impl Iterator<Item = (&Mark, f64, f64)> {
    x.marks.iter().map(move |mark| (mark, left + mark.place * (right - left), text_width(&mark.text, FONT)))
}

/// Joins places to a line. Of several that fall together, one is kept.
fn joined(places: impl Iterator<Item = String>) -> String {
    let mut line: Vec<String> = places.collect();
    line.dedup();
    line.join("L")
}

/// Puts the names of the lines in rows.
fn legend(series: &[Series], width: f64) -> Vec<LegendEntry<'_>> {
    let (mut x, mut row) = (EDGE, 0);
    let mut entries = Vec::new();
    for (index, series) in series.iter().enumerate() {
        let shown = shortened(&series.name, FONT, width - 2.0 * EDGE - SAMPLE);
        let needed = SAMPLE + text_width(&shown, FONT);
        if x > EDGE && x + needed > width - EDGE {
            (x, row) = (EDGE, row + 1);
        }
        entries.push(LegendEntry { series: index, name: &series.name, shown, x, row });
        x += needed + 2.0 * EDGE;
    }
    entries
}

fn draw_entry(svg: &mut String, entry: &LegendEntry, baseline: f64) {
    let (x, line) = (entry.x, baseline - 4.0);
    let _ = write!(svg, "<g class=\"{}\"><title>{}</title>", colour(entry.series), escaped(entry.name));
    let _ = writeln!(svg, "<path {} d=\"M{x:.1} {line:.1}h28\"/>", stroke(entry.series));
    svg.push_str(&marker(entry.series, x + 14.0, line));
    svg.push_str(&text(x + SAMPLE, baseline, "start", "", &entry.shown));
    svg.push_str("</g>\n");
}

/// Returns the class of what has the colour of a series.
pub fn colour(series: usize) -> String {
    format!("line{}", series % COLOURS.len())
}

fn stroke(series: usize) -> String {
    let dash = match DASHES[series % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    };
    format!("fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" stroke-linejoin=\"round\"{dash}")
}

/// Returns the marker of a line, about 8 pixels wide.
fn marker(series: usize, x: f64, y: f64) -> String {
    let shape = match series % 6 {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        1 => "m-3.5 -3.5h7v7h-7z",
        2 => "m0 -4.5l4.5 8h-9z",
        3 => "m0 -5l5 5l-5 5l-5 -5z",
        4 => "m0 4.5l4.5 -8h-9z",
        _ => "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    };
    format!("<path fill=\"currentColor\" d=\"M{x:.1} {y:.1}{shape}\"/>\n")
}

/// Returns the style sheet of pictures: fonts, grounds and the colours of series, light and dark.
pub fn style() -> String {
    let mut light = STYLE.to_owned();
    let mut dark = DARK_STYLE.to_owned();
    for (index, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, ".chart .line{index}{{color:{on_light}}}");
        let _ = write!(dark, ".chart .line{index}{{color:{on_dark}}}");
    }
    format!("{light}@media (prefers-color-scheme:dark){{{dark}}}")
}

/// Returns a text whose line stands at `y`, and that begins, is in the middle or ends at `x`.
pub fn text(x: f64, y: f64, anchor: &str, class: &str, content: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let content = escaped(content);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{class}>{content}</text>\n")
}

/// Returns a text as XML has it. Characters that XML cannot have are replaced.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Returns a width that a text does not go beyond in common fonts, in pixels.
pub fn text_width(text: &str, font: f64) -> f64 {
    let width = |character: char| match character {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.98,
        'A'..='Z' => 0.76,
        character if character.is_ascii() => 0.62,
        _ => 1.04,
    };
    text.chars().map(width).sum::<f64>() * font
}

/// Returns a text that is at most so wide, cut if it has to be.
pub fn shortened(text: &str, font: f64, room: f64) -> String {
    if text_width(text, font) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if text_width(&short, font) + text_width("…", font) > room {
            short.pop();
            break;
        }
    }
    format!("{}…", short.trim_end())
}
