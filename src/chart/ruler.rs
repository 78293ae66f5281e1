//! Where the values of an axis lie, and which of them are marked.

use super::numbers::exponent;
use super::{AxisNumbers, AxisScale, ChartAxis};

/// Fewest marks that can be asked for: below zero, zero and above may all be needed.
pub(super) const FEWEST_MARKS: usize = 3;

/// Distances of marks on a logarithmic axis, in powers of ten or two.
const POWERS_APART: [i32; 10] = [1, 2, 3, 4, 5, 10, 20, 50, 100, 500];

/// A value that is marked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Its place, from 0 to 1.
    pub place: f64,
    /// How it is written.
    pub text: String,
}

/// An axis with its range.
#[derive(Debug, Clone)]
pub(super) struct Ruler {
    scale: AxisScale,
    /// The ends of the range, as the scale measures them.
    low: f64,
    high: f64,
    /// The marks, ascending.
    pub marks: Vec<Mark>,
}

/// A round number.
struct Round {
    value: f64,
    /// Decimals that it needs; negative for zeros before the point.
    decimals: i32,
}

/// The round numbers of an axis.
struct Rounds {
    low: f64,
    high: f64,
    marked: Vec<Round>,
}

impl Rounds {
    /// Returns them with a range that holds all marks.
    fn with_marks_inside(self) -> Rounds {
        let values = || self.marked.iter().map(|round| round.value);
        let (low, high) = (values().fold(self.low, f64::min), values().fold(self.high, f64::max));
        Rounds { low, high, ..self }
    }
}

impl Ruler {
    /// Returns an axis for values from the first to the second of `span`, with `most` marks at most, but at least
    /// [`FEWEST_MARKS`].
    pub fn new(axis: &ChartAxis, span: Option<(f64, f64)>, most: usize) -> Ruler {
        let most = most.max(FEWEST_MARKS);
        let rounds = match axis.scale {
            AxisScale::Linear => linear(span.unwrap_or((0.0, 1.0)), most),
            AxisScale::Log10 => decades(span.unwrap_or((1.0, 10.0)), most),
            AxisScale::Log2 => octaves(span.unwrap_or((1.0, 2.0)), most),
        };
        let measure = |value| measured(axis.scale, value);
        let mut ruler = Ruler {
            scale: axis.scale,
            low: measure(rounds.low),
            high: measure(rounds.high),
            marks: Vec::new(),
        };
        let mark = |round: &Round| Mark { place: ruler.place(round.value), text: written(axis, round) };
        ruler.marks = rounds.marked.iter().map(mark).collect();
        ruler
    }

    /// Returns the place of a value, from 0 to 1. What lies outside of the range is at its end.
    pub fn place(&self, value: f64) -> f64 {
        if self.scale != AxisScale::Linear && value <= 0.0 {
            return 0.0;
        }
        ((measured(self.scale, value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn measured(scale: AxisScale, value: f64) -> f64 {
    match scale {
        AxisScale::Linear => value,
        AxisScale::Log2 | AxisScale::Log10 => libm::log2(value),
    }
}

fn written(axis: &ChartAxis, round: &Round) -> String {
    let power = libm::log2(round.value);
    let is_long = round.value >= 1e7 || round.decimals > 6;
    if axis.scale == AxisScale::Log2 && axis.numbers == AxisNumbers::Plain && is_long {
        return format!("2^{power}");
    }
    axis.numbers.text(round.value, round.decimals)
}

/// Returns `digits · 10^exponent`, rounded once.
fn decimal(digits: i64, exponent: i32) -> f64 {
    format!("{digits}e{exponent}").parse().expect("it is a number")
}

/// Marks multiples of 1, 2 or 5 times a power of ten, and ends at such.
fn linear((mut low, mut high): (f64, f64), most: usize) -> Rounds {
    let largest = low.abs().max(high.abs());
    if high - low <= largest * 1e-9 || high - low < 1e-200 {
        // All values are equal. They lie in the middle, but zero at the end, for few things are negative.
        let around = largest / 10.0;
        (low, high) = if around < 1e-200 { (0.0, 1.0) } else { (low - around, high + around) };
    }
    let mut power = exponent((high - low) / most as f64) - 1;
    loop {
        for digit in [1, 2, 5] {
            let step = decimal(digit, power);
            // Rounding may put a value that is a multiple beside it.
            let first = (low / step + 1e-6).floor() as i64;
            let last = (high / step - 1e-6).ceil() as i64;
            if (last - first) < most as i64 {
                let round = |index: i64| Round { value: decimal(index * digit, power), decimals: -power };
                let marked: Vec<Round> = (first..=last).map(round).collect();
                return Rounds {
                    low: decimal(first * digit, power),
                    high: decimal(last * digit, power),
                    marked,
                };
            }
        }
        power += 1;
    }
}

/// Returns `10^power`.
fn decade(power: i32) -> Round {
    Round { value: decimal(1, power), decimals: -power }
}

/// Returns `2^power`.
fn octave(power: i32) -> Round {
    let value = libm::ldexp(1.0, power);
    // A large power of two is written with three digits.
    let decimals = if power < 0 { -power } else { (2 - exponent(value)).min(0) };
    Round { value, decimals }
}

/// Marks powers of two.
fn octaves(span: (f64, f64), most: usize) -> Rounds {
    let (first, last) = around(span, octave);
    let marked = powers((first, last), (first, last), most).map(octave).collect();
    Rounds { low: octave(first).value, high: octave(last).value, marked }.with_marks_inside()
}

/// Marks 1, 2 and 5 times powers of ten, or the powers alone if that is too many.
fn decades(span: (f64, f64), most: usize) -> Rounds {
    let ladder = |index: i32| {
        let power = index.div_euclid(3);
        let digit = [1, 2, 5][index.rem_euclid(3) as usize];
        Round { value: decimal(digit, power), decimals: -power }
    };
    let (first, last) = around(span, ladder);
    let marked: Vec<Round> = if last - first < most as i32 {
        (first..=last).map(ladder).collect()
    } else {
        let (down, up) = (|index: i32| index.div_euclid(3), |index: i32| (index + 2).div_euclid(3));
        powers((up(first), down(last)), (down(first), up(last)), most).map(decade).collect()
    };
    Rounds { low: ladder(first).value, high: ladder(last).value, marked }.with_marks_inside()
}

/// Yields exponents, equally far apart, `most` of them at most, and those of `inner` if these are two. One mark would
/// give no distance, so otherwise they are those around `outer`.
fn powers(inner: (i32, i32), outer: (i32, i32), most: usize) -> impl Iterator<Item = i32> {
    let up = |power: i32, apart: i32| -(-power).div_euclid(apart);
    let multiples = |apart: i32| up(inner.0, apart)..=inner.1.div_euclid(apart);
    let apart = POWERS_APART.into_iter().find(|&apart| multiples(apart).count() <= most);
    let apart = apart.expect("what is drawn has exponents below 500");
    let inside = multiples(apart);
    let has_distance = inside.end() > inside.start();
    let marked = if has_distance { inside } else { outer.0.div_euclid(apart)..=up(outer.1, apart) };
    marked.map(move |multiple| multiple * apart)
}

/// Returns the index of the last number of a ladder up to `low`, and of the first from `high` on, which is another one.
fn around((low, high): (f64, f64), ladder: impl Fn(i32) -> Round) -> (i32, i32) {
    // All that is drawn lies between: 2^±400 is beyond 1e±100, and so is a third of that with tens.
    let (mut first, mut end) = (-400_i32, 400_i32);
    while end - first > 1 {
        let middle = (first + end).div_euclid(2);
        if ladder(middle).value <= low { first = middle } else { end = middle }
    }
    let mut last = first;
    while ladder(last).value < high {
        last += 1;
    }
    if first == last { (first - 1, last + 1) } else { (first, last) }
}
