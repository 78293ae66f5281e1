//! Line charts, as SVG and as text for the terminal, and pages of them.
//!
//! # What it means
//!
//! A [`Chart`] has two axes and some series. The points of a series are joined in the order that they have. A point
//! cannot be drawn if a coordinate is not finite or beyond 1e100, or below 1e-100 on a logarithmic axis. It is left out
//! and counted, and the line is interrupted there. Each axis reaches from a round number below all points and bands to
//! one above them.
//!
//! The same chart gives the same bytes on any machine.

mod numbers;
mod page;
mod ruler;
pub mod svg;
mod text;

pub use page::{PageSection, PageTable, page};
pub use svg::column;
pub use text::Glyphs;

/// A line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The axis from left to right.
    pub x: ChartAxis,
    /// The axis from bottom to top.
    pub y: ChartAxis,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartAxis {
    /// What it measures.
    pub name: String,
    /// How its values become places.
    pub scale: AxisScale,
    /// How its values are written.
    pub numbers: AxisNumbers,
}

/// How the values of an axis become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisScale {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are equally far apart, and powers of 2 are marked.
    Log2,
    /// Equal ratios are equally far apart, and powers of 10 are marked.
    Log10,
}

/// How the values of an axis are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AxisNumbers {
    /// As they are.
    Plain,
    /// A fraction as a percentage.
    Percent,
    /// In thousands, millions and so on of a unit, e.g. `1.5 GFLOP`.
    Scaled {
        /// The unit; empty for none.
        unit: String,
    },
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, in the order in which they are joined.
    pub points: Vec<ChartPoint>,
}

/// A point of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartPoint {
    /// Its place on the horizontal axis.
    pub x: f64,
    /// Its place on the vertical axis.
    pub y: f64,
    /// The lower and the upper end of what `y` may be, e.g. of an interval. A band that is not finite is not drawn.
    pub band: Option<(f64, f64)>,
}

/// The largest number that is drawn; its inverse is the smallest on a logarithmic axis.
const LARGEST: f64 = 1e100;

impl AxisScale {
    fn can_draw(self, value: f64) -> bool {
        match self {
            AxisScale::Linear => value.abs() <= LARGEST,
            AxisScale::Log2 | AxisScale::Log10 => (1.0 / LARGEST..=LARGEST).contains(&value),
        }
    }
}

impl Chart {
    /// Returns how many points cannot be drawn.
    pub fn left_out(&self) -> usize {
        self.series.iter().flat_map(|series| &series.points).filter(|point| !self.can_draw(point)).count()
    }

    fn can_draw(&self, point: &ChartPoint) -> bool {
        self.x.scale.can_draw(point.x) && self.y.scale.can_draw(point.y)
    }

    /// Yields the parts of a line between points that cannot be drawn.
    fn runs<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = &'a [ChartPoint]> {
        series.points.split(|point| !self.can_draw(point)).filter(|run| !run.is_empty())
    }

    /// Yields all points that can be drawn.
    fn drawn(&self) -> impl Iterator<Item = &ChartPoint> {
        self.series.iter().flat_map(|series| &series.points).filter(|point| self.can_draw(point))
    }

    /// Returns the least and the greatest value on the horizontal axis; `None` without points.
    fn x_span(&self) -> Option<(f64, f64)> {
        span(self.drawn().map(|point| point.x))
    }

    /// Returns the least and the greatest value on the vertical axis, bands included; `None` without points.
    fn y_span(&self) -> Option<(f64, f64)> {
        let values = self.drawn().flat_map(|point| {
            let band = point.drawn_band().map(|(low, high)| [low, high]);
            band.into_iter().flatten().filter(|&end| self.y.scale.can_draw(end)).chain([point.y])
        });
        span(values)
    }

    /// Says how many points are left out, if any are.
    fn left_out_note(&self) -> Option<String> {
        let count = self.left_out();
        let is_log = [self.x.scale, self.y.scale].iter().any(|&scale| scale != AxisScale::Linear);
        let why = if is_log { "not finite, or not positive" } else { "not finite" };
        (count > 0).then(|| format!("{} left out: {why}", crate::units::counted(count, "point")))
    }
}

impl ChartPoint {
    /// Returns a point without a band.
    pub fn at(x: f64, y: f64) -> ChartPoint {
        ChartPoint { x, y, band: None }
    }

    /// Returns the band if it can be drawn, from its lower to its upper end.
    fn drawn_band(&self) -> Option<(f64, f64)> {
        let (low, high) = self.band?;
        let can_draw = low.abs() <= LARGEST && high.abs() <= LARGEST;
        can_draw.then(|| (low.min(high), low.max(high)))
    }
}

fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |span, value| match span {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
