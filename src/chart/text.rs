//! Charts for the terminal.

use super::ruler::{FEWEST_MARKS, Ruler};
use super::{Chart, Series};

/// Fewest columns of a chart.
const FEWEST_COLUMNS: usize = 40;
/// Most markers on one line; of more points, every so many has one.
const MAX_MARKERS: usize = 12;

/// The characters of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyphs {
    /// Dots of braille and lines of boxes.
    Braille,
    /// Plain ASCII; other characters of names become `?`.
    Ascii,
}

/// What a chart is drawn with.
struct Pens {
    /// Dots of a cell, across and down.
    dots: (usize, usize),
    axis: char,
    mark: char,
    corner: char,
    floor: char,
    floor_mark: char,
    ellipsis: &'static str,
    markers: [char; 6],
}

impl Glyphs {
    fn pens(self) -> Pens {
        match self {
            Glyphs::Braille => Pens {
                dots: (2, 4),
                axis: '│',
                mark: '┤',
                corner: '└',
                floor: '─',
                floor_mark: '┬',
                ellipsis: "…",
                markers: ['●', '■', '▲', '◆', '▼', '×'],
            },
            Glyphs::Ascii => Pens {
                dots: (1, 1),
                axis: '|',
                mark: '+',
                corner: '+',
                floor: '-',
                floor_mark: '+',
                ellipsis: "...",
                markers: ['*', 'o', '+', 'x', '#', '@'],
            },
        }
    }

    fn marker(self, series: usize) -> char {
        match self.pens().markers.get(series) {
            Some(&marker) => marker,
            None => char::from(b'a' + (series - 6) as u8 % 26),
        }
    }

    /// Returns the character of a cell with dots, whose bits are row by row.
    fn dotted(self, dots: u8) -> char {
        match (self, dots) {
            (_, 0) => ' ',
            (Glyphs::Ascii, _) => '.',
            (Glyphs::Braille, dots) => {
                // Braille numbers the upper three rows column by column, and then the lowest row.
                const BITS: [u32; 8] = [0, 3, 1, 4, 2, 5, 6, 7];
                let bits: u32 = (0..8).filter(|dot| dots >> dot & 1 == 1).map(|dot| 1 << BITS[dot]).sum();
                char::from_u32(0x2800 + bits).expect("there are 256 characters of braille")
            }
        }
    }

    /// Returns a text on one line, in characters that may be written, cut to so many columns.
    fn clean(self, text: &str, columns: usize) -> String {
        let allowed = |character: char| match character {
            character if character.is_control() => ' ',
            character if self == Glyphs::Ascii && !character.is_ascii() => '?',
            character => character,
        };
        let text: String = text.chars().map(allowed).collect();
        if width(&text) <= columns {
            return text;
        }
        let ellipsis = self.pens().ellipsis;
        let mut short = String::new();
        for character in text.chars() {
            short.push(character);
            if width(&short) + width(ellipsis) > columns {
                short.pop();
                break;
            }
        }
        format!("{}{ellipsis}", short.trim_end())
    }
}

/// Returns the columns that a text takes. Characters of East Asia and pictures take two.
fn width(text: &str) -> usize {
    text.chars().map(|character| if character >= '\u{1100}' && !is_narrow(character) { 2 } else { 1 }).sum()
}

/// Returns whether a character beyond the first scripts is one column wide: punctuation, lines, shapes, braille.
fn is_narrow(character: char) -> bool {
    matches!(character, '\u{1d00}'..='\u{22ff}' | '\u{2400}'..='\u{28ff}')
}

/// The part with the lines.
struct Canvas {
    glyphs: Glyphs,
    columns: usize,
    rows: usize,
    /// The dots of each cell.
    dots: Vec<u8>,
    markers: Vec<Option<char>>,
}

impl Canvas {
    fn new(glyphs: Glyphs, columns: usize, rows: usize) -> Canvas {
        let cells = columns * rows;
        Canvas { glyphs, columns, rows, dots: vec![0; cells], markers: vec![None; cells] }
    }

    /// Returns the dot at places from 0 to 1, counted from the top left.
    fn dot(&self, across: f64, up: f64) -> (i64, i64) {
        let (wide, high) = self.glyphs.pens().dots;
        let at = |place: f64, dots: usize| (place * (dots - 1) as f64).round() as i64;
        (at(across, self.columns * wide), at(1.0 - up, self.rows * high))
    }

    fn cell(&self, (x, y): (i64, i64)) -> usize {
        let (wide, high) = self.glyphs.pens().dots;
        y as usize / high * self.columns + x as usize / wide
    }

    fn set(&mut self, dot: (i64, i64)) {
        let (wide, high) = self.glyphs.pens().dots;
        let bit = dot.1 as usize % high * wide + dot.0 as usize % wide;
        let cell = self.cell(dot);
        self.dots[cell] |= 1 << bit;
    }

    /// Draws a line (Bresenham 1965).
    fn line(&mut self, from: (i64, i64), to: (i64, i64)) {
        let (wide, high) = ((to.0 - from.0).abs(), -(to.1 - from.1).abs());
        let (right, down) = ((to.0 - from.0).signum(), (to.1 - from.1).signum());
        let (mut at, mut error) = (from, wide + high);
        self.set(at);
        while at != to {
            let twice = 2 * error;
            if twice >= high {
                error += high;
                at.0 += right;
            }
            if twice <= wide {
                error += wide;
                at.1 += down;
            }
            self.set(at);
        }
    }

    fn mark(&mut self, dot: (i64, i64), marker: char) {
        let cell = self.cell(dot);
        self.markers[cell] = Some(marker);
    }

    fn row(&self, row: usize) -> String {
        let cells = row * self.columns..(row + 1) * self.columns;
        cells.map(|cell| self.markers[cell].unwrap_or_else(|| self.glyphs.dotted(self.dots[cell]))).collect()
    }
}

impl Chart {
    /// Returns the chart as lines of text, each at most so many columns wide, but at least 40.
    ///
    /// Bands are dotted bars at the points that have a marker.
    pub fn to_text(&self, columns: usize, glyphs: Glyphs) -> String {
        let columns = columns.max(FEWEST_COLUMNS);
        let rows = (columns / 4).clamp(10, 20);
        let pens = glyphs.pens();
        let y = Ruler::new(&self.y, self.y_span(), rows / 3);
        let labels = y.marks.iter().map(|mark| glyphs.clean(&mark.text, columns / 3)).collect::<Vec<_>>();
        let left = labels.iter().map(|label| width(label)).max().unwrap_or(0);
        let mut canvas = Canvas::new(glyphs, columns - left - 2, rows);
        let (x, x_labels) = horizontal(self, &canvas, left + 2, glyphs);
        for (index, series) in self.series.iter().enumerate() {
            self.draw(&mut canvas, (&x, &y), glyphs.marker(index), series);
        }

        let mut lines = Vec::new();
        for heading in [&self.title, &self.y.name] {
            if !heading.is_empty() {
                lines.push(glyphs.clean(heading, columns));
            }
        }
        for row in 0..rows {
            let is_here = |place: f64| canvas.cell(canvas.dot(0.0, place)) / canvas.columns == row;
            let label = y.marks.iter().position(|mark| is_here(mark.place));
            let (label, axis) = label.map_or(("", pens.axis), |mark| (labels[mark].as_str(), pens.mark));
            lines.push(format!("{}{label} {axis}{}", " ".repeat(left - width(label)), canvas.row(row)));
        }
        let mut floor = vec![pens.floor; canvas.columns];
        for mark in &x.marks {
            floor[canvas.cell(canvas.dot(mark.place, 1.0))] = pens.floor_mark;
        }
        lines.push(format!("{} {}{}", " ".repeat(left), pens.corner, floor.iter().collect::<String>()));
        lines.push(x_labels);
        if !self.x.name.is_empty() {
            let name = glyphs.clean(&self.x.name, columns - left - 2);
            let before = left + 2 + (canvas.columns - width(&name)) / 2;
            lines.push(format!("{}{name}", " ".repeat(before)));
        }
        lines.extend(self.text_legend(columns, glyphs));
        if self.drawn().next().is_none() {
            lines.push("no points".to_owned());
        }
        lines.extend(self.left_out_note().map(|note| glyphs.clean(&note, columns)));
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn draw(&self, canvas: &mut Canvas, (x, y): (&Ruler, &Ruler), marker: char, series: &Series) {
        for run in self.runs(series) {
            for pair in run.windows(2) {
                let [from, to] =
                    [pair[0], pair[1]].map(|point| canvas.dot(x.place(point.x), y.place(point.y)));
                canvas.line(from, to);
            }
        }
        let every = self.runs(series).map(<[_]>::len).sum::<usize>().div_ceil(MAX_MARKERS).max(1);
        for point in self.runs(series).flatten().step_by(every) {
            if let Some((low, high)) = point.drawn_band() {
                let [low, high] = [low, high].map(|end| canvas.dot(x.place(point.x), y.place(end)));
                (high.1..=low.1).step_by(2).for_each(|down| canvas.set((low.0, down)));
            }
            canvas.mark(canvas.dot(x.place(point.x), y.place(point.y)), marker);
        }
    }

    /// Puts the names of the lines in rows.
    fn text_legend(&self, columns: usize, glyphs: Glyphs) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for (index, series) in self.series.iter().enumerate() {
            let entry = format!("{} {}", glyphs.marker(index), glyphs.clean(&series.name, columns - 2));
            match lines.last_mut() {
                Some(line) if width(line) + 3 + width(&entry) <= columns => {
                    line.push_str("   ");
                    line.push_str(&entry);
                }
                _ => lines.push(entry),
            }
        }
        lines
    }
}

/// Returns the horizontal axis with as many marks as there is room for, and the line of their texts.
fn horizontal(chart: &Chart, canvas: &Canvas, left: usize, glyphs: Glyphs) -> (Ruler, String) {
    let columns = left + canvas.columns;
    let mut most = 10;
    loop {
        let x = Ruler::new(&chart.x, chart.x_span(), most);
        let mut line = String::new();
        let mut fits = true;
        for mark in &x.marks {
            let text = glyphs.clean(&mark.text, columns / 3);
            let at = left + canvas.cell(canvas.dot(mark.place, 1.0));
            let start = at.saturating_sub(width(&text) / 2).min(columns - width(&text));
            let before = if line.is_empty() { 0 } else { width(&line) + 2 };
            if start < before {
                fits = false;
                continue;
            }
            line.push_str(&" ".repeat(start - width(&line)));
            line.push_str(&text);
        }
        if fits || most == FEWEST_MARKS {
            return (x, line);
        }
        most -= 1;
    }
}
