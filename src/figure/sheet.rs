//! What is drawn with: frames, texts, lines and arrow heads, at places in pixels.

use std::fmt::Write as _;

use crate::chart::svg::{escaped, style, text};

pub use crate::chart::svg::{shortened, text_width};

/// Size of most texts.
pub(super) const FONT: f64 = 12.0;
/// Size whose texts take as much room as those of the class `strong`.
pub(super) const STRONG_FONT: f64 = 13.0;
/// Size of texts of the class `small`.
pub(super) const SMALL_FONT: f64 = 11.0;
/// Room around everything.
pub(super) const EDGE: f64 = 16.0;

const STYLE: &str = "\
.chart .small{font-size:11px}\
.chart .strong{font-weight:600}\
.chart .box{fill:currentColor;fill-opacity:.04;stroke:currentColor;stroke-width:1.2;stroke-dasharray:4 3}\
.chart .learns{fill-opacity:.2;stroke-width:2;stroke-dasharray:none}\
.chart .plain{color:#59636e}\
.chart .plain.learns{fill-opacity:.1}\
.chart .tint{fill:#1f2328;fill-opacity:.05}\
.chart .loop{fill:none;stroke:#59636e}\
.chart .again{stroke:#59636e;stroke-dasharray:2 3}\
.chart .wire{fill:none;stroke:#8b949e;stroke-width:1.2}\
.chart .flow{stroke:#1f2328;stroke-width:2.6}\
.chart .tip{fill:#8b949e}\
.chart .tip.flow{fill:#1f2328;stroke:none}\
.chart .detach{fill:none;stroke:#d1242f;stroke-width:1.8;stroke-dasharray:6 3}\
.chart .cut{fill:#d1242f}\
@media (prefers-color-scheme:dark){\
.chart .plain{color:#9da7b3}\
.chart .tint{fill:#e6edf3;fill-opacity:.07}\
.chart .loop,.chart .again{stroke:#9da7b3}\
.chart .wire{stroke:#6e7681}\
.chart .flow{stroke:#e6edf3}\
.chart .tip{fill:#6e7681}\
.chart .tip.flow{fill:#e6edf3}\
.chart .detach{stroke:#ff7b72}\
.chart .cut{fill:#ff7b72}}";

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Frame {
    /// Returns where its right side is.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Returns where its lower side is.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Returns how far its middle is from the left.
    pub fn middle(&self) -> f64 {
        self.x + self.width / 2.0
    }
}

/// Where an arrow points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heading {
    Right,
    Down,
    Up,
}

/// Where a text lies, from the place that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What is drawn so far.
#[derive(Default)]
pub(super) struct Sheet {
    svg: String,
}

impl Sheet {
    /// Returns the picture, with what it shows in words.
    pub fn finish(self, width: f64, height: f64, title: &str, description: &str) -> String {
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">"
        );
        let _ = writeln!(svg, "<title>{}</title>", escaped(title));
        let _ = writeln!(svg, "<desc>{}</desc>", escaped(description));
        let _ = writeln!(svg, "<style>{}{STYLE}</style>", style());
        svg.push_str("<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n");
        svg.push_str(&self.svg);
        svg.push_str("</svg>\n");
        svg
    }

    /// Draws what another sheet has above everything so far.
    pub fn put(&mut self, above: Sheet) {
        self.svg.push_str(&above.svg);
    }

    /// Draws a text whose line stands at `y`.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.svg.push_str(&text(x, y, anchor, class, content));
    }

    /// Draws a rectangle; `title` is what it is about, whole, for whoever points at it.
    pub fn frame(&mut self, frame: Frame, class: &str, title: &str) {
        let Frame { x, y, width, height } = frame;
        let _ = write!(
            self.svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"5\""
        );
        let _ = match title {
            "" => writeln!(self.svg, "/>"),
            title => writeln!(self.svg, "><title>{}</title></rect>", escaped(title)),
        };
    }

    /// Draws a line through places, each beside or above the one before.
    pub fn line(&mut self, class: &str, places: &[(f64, f64)]) {
        let mut path = String::new();
        for (index, (x, y)) in places.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| places[before]);
            let _ = match before {
                None => write!(path, "M{x:.1} {y:.1}"),
                Some((_, row)) if row == *y => write!(path, "H{x:.1}"),
                Some(_) => write!(path, "V{y:.1}"),
            };
        }
        let _ = writeln!(self.svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// Draws an arrow head with its point at a place.
    pub fn tip(&mut self, (x, y): (f64, f64), heading: Heading, class: &str) {
        let shape = match heading {
            Heading::Right => "l-8 -4v8z",
            Heading::Down => "l-4 -8h8z",
            Heading::Up => "l-4 8h8z",
        };
        let _ = writeln!(self.svg, "<path class=\"tip{class}\" d=\"M{x:.1} {y:.1}{shape}\"/>");
    }

    /// Draws a dot, where a line leaves another.
    pub fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        let _ = writeln!(self.svg, "<circle class=\"tip{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"/>");
    }
}
