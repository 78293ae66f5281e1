use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use super::ruler::Ruler;
use super::testing::{SvgElement, elements, text_boxes};
use super::*;

fn axis(name: &str, scale: AxisScale, numbers: AxisNumbers) -> ChartAxis {
    ChartAxis { name: name.to_owned(), scale, numbers }
}

fn plain(name: &str, scale: AxisScale) -> ChartAxis {
    axis(name, scale, AxisNumbers::Plain)
}

/// Returns a line whose band reaches `half` up and down; 0 for none.
fn line(name: &str, half: f64, points: &[(f64, f64)]) -> Series {
    let point =
        |&(x, y): &(f64, f64)| ChartPoint { x, y, band: (half > 0.0).then_some((y - half, y + half)) };
    Series { name: name.to_owned(), points: points.iter().map(point).collect() }
}

/// Accuracy against work: bands, a unit, powers of ten.
pub(super) fn accuracy() -> Chart {
    Chart {
        title: "accuracy of 3 models".to_owned(),
        x: axis("work per puzzle", AxisScale::Log10, AxisNumbers::Scaled { unit: "FLOP".to_owned() }),
        y: axis("exact accuracy", AxisScale::Linear, AxisNumbers::Percent),
        series: vec![
            line("hrm", 0.03, &[(1.1e9, 0.31), (2.2e9, 0.44), (4.4e9, 0.58), (8.8e9, 0.66), (1.76e10, 0.7)]),
            line("trm", 0.02, &[(0.6e9, 0.22), (1.2e9, 0.47), (2.4e9, 0.69), (4.8e9, 0.8), (9.6e9, 0.84)]),
            line("plain", 0.0, &[(1e9, 0.05), (2e9, 0.08), (4e9, 0.11), (8e9, 0.12)]),
        ],
    }
}

/// Two curves over segments, one with a point that is not a number and one at 0 segments.
pub(super) fn segments() -> Chart {
    let points = [(0.0, 9.0), (1.0, 4.0), (2.0, 2.0), (4.0, 1.5), (8.0, f64::NAN), (16.0, 1.0), (32.0, 1.2)];
    Chart {
        title: String::new(),
        x: plain("segments", AxisScale::Log2),
        y: plain("rules broken", AxisScale::Linear),
        series: vec![line("easy <9x9> & small", 0.0, &points), line("hard", 0.0, &[(4.0, 5.0)])],
    }
}

/// A chart with one line, and with these scales.
fn single(x: AxisScale, y: AxisScale, points: &[(f64, f64)]) -> Chart {
    let series = vec![line("line", 0.0, points)];
    Chart { title: "title".to_owned(), x: plain("x", x), y: plain("y", y), series }
}

/// Charts that are at the edge of what there is to draw.
pub(super) fn edge_cases() -> Vec<Chart> {
    use AxisScale::{Linear, Log2, Log10};
    let mut charts = vec![accuracy(), segments()];
    for scale in [Linear, Log2, Log10] {
        for points in [
            &[][..],
            &[(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, f64::NEG_INFINITY)],
            &[(3.0, 5.0)],
            &[(0.0, 0.0)],
            &[(0.0, 1.0), (0.0, 1.0), (0.0, 1.0)],
            &[(7.0, 7.0), (7.0, 7.0)],
            &[(1.0, 1.0), (1.0, 2.0)],
            &[(0.0, 3.0), (1.0, 0.0), (2.0, 4.0)],
            &[(-1e100, -1e100), (1e100, 1e100)],
            &[(1e-100, 1e-100), (1e100, 1e100)],
            &[(1.0, 1.0), (1.0 + 1e-15, 1.0 - 1e-15)],
            &[(-1e9, -0.001), (1e9, 0.0015)],
            &[(5e-324, 5e-324), (f64::MAX, f64::MIN)],
        ] {
            charts.push(single(scale, Linear, points));
            charts.push(single(Linear, scale, points));
        }
    }
    for unit in ["parameters", "parameters of all the networks of a model"] {
        let mut wide = single(Log10, Linear, &[(1e6, 0.0), (3e12, 1.0)]);
        wide.x.numbers = AxisNumbers::Scaled { unit: unit.to_owned() };
        wide.y.name.clear();
        charts.push(wide.clone());
        (wide.x, wide.y) = (wide.y, wide.x);
        wide.series = vec![line("line", 0.0, &[(0.0, 1e6), (1.0, 3e12)])];
        charts.push(wide);
    }
    let mut many = segments();
    many.title = "A title that is far too long for any picture ".repeat(9);
    many.x.name = "a name of an axis that is as long ".repeat(9);
    many.y.name = many.x.name.clone();
    many.series = (0..30)
        .map(|index| {
            let name = format!(
                "{}: 'quoted' \"name\" \u{1b}[31m\u{0}\u{ffff} ünï 数独 {}",
                index,
                "w".repeat(9 * index)
            );
            line(&name, f64::from(index as u32 % 3), &[(1.0, index as f64), (2.0, 1.5 * index as f64)])
        })
        .collect();
    charts.push(many);
    charts
}

#[test]
fn images_are_well_formed_and_no_text_leaves_them_or_lies_on_another() {
    for chart in edge_cases() {
        for (width, height) in [(0, 0), (320, 240), (720, 440), (1600, 300)] {
            let svg = chart.to_svg(width, height);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let elements = elements(&svg);
            let view: Vec<f64> = elements[0]
                .attribute("viewBox")
                .expect("the root has a view")
                .split(' ')
                .map(|number| number.parse().expect("it is a number"))
                .collect();
            let boxes = text_boxes(&elements);
            for (index, one) in boxes.iter().enumerate() {
                let is_inside =
                    one.left >= 0.0 && one.top >= 0.0 && one.right <= view[2] && one.bottom <= view[3];
                assert!(is_inside, "{one:?} leaves {view:?}: {}", chart.title);
                for other in &boxes[index + 1..] {
                    let is_apart = one.right <= other.left
                        || other.right <= one.left
                        || one.bottom <= other.top
                        || other.bottom <= one.top;
                    assert!(is_apart, "{one:?} and {other:?}: {chart:?} {width}x{height}");
                }
            }
        }
    }
}

#[test]
fn lines_of_text_have_room_in_their_columns() {
    for chart in edge_cases() {
        for columns in [0, 40, 60, 80, 133] {
            let text = chart.to_text(columns, Glyphs::Ascii);
            assert!(text.is_ascii(), "{text}");
            assert!(!text.contains(['\u{1b}', '\u{0}']), "{text}");
            for line in text.lines() {
                assert!(line.len() <= columns.max(40), "`{line}` has {} columns", line.len());
            }
            let braille = chart.to_text(columns, Glyphs::Braille);
            assert!(!braille.contains(['\u{1b}', '\u{0}']), "{braille}");
            assert_eq!(braille.lines().last().is_some(), text.lines().last().is_some());
        }
    }
}

#[test]
fn points_that_cannot_be_drawn_are_counted_and_interrupt_the_line() {
    let chart = segments();
    assert_eq!(chart.left_out(), 2);
    let runs: Vec<usize> = chart.runs(&chart.series[0]).map(<[_]>::len).collect();
    assert_eq!(runs, [3, 2]);
    let note = "2 points left out: not finite, or not positive";
    assert!(chart.to_svg(600, 400).contains(note));
    assert_eq!(chart.to_text(80, Glyphs::Ascii).lines().last(), Some(note));
    assert_eq!(accuracy().left_out(), 0);
    assert!(!accuracy().to_svg(600, 400).contains("left out"));
}

#[test]
fn a_chart_without_points_says_so() {
    let chart = single(AxisScale::Linear, AxisScale::Log10, &[]);
    assert!(chart.to_svg(600, 400).contains(">no points</text>"));
    assert!(chart.to_text(80, Glyphs::Braille).ends_with("no points\n"));
}

#[test]
fn marks_are_round_and_few() {
    let marks = |scale, numbers, low: f64, high: f64, most| -> String {
        let ruler = Ruler::new(&axis("", scale, numbers), Some((low, high)), most);
        ruler.marks.iter().map(|mark| mark.text.as_str()).collect::<Vec<_>>().join(" ")
    };
    use AxisNumbers::{Percent, Plain};
    use AxisScale::{Linear, Log2, Log10};
    let scaled = |unit: &str| AxisNumbers::Scaled { unit: unit.to_owned() };
    assert_eq!(marks(Linear, Plain, 0.0, 1.0, 6), "0 0.2 0.4 0.6 0.8 1.0");
    assert_eq!(marks(Linear, Plain, 0.1, 0.3, 6), "0.10 0.15 0.20 0.25 0.30");
    assert_eq!(marks(Linear, Plain, -3.0, 17.0, 8), "-5 0 5 10 15 20");
    assert_eq!(marks(Linear, Plain, 0.0, 52_083.0, 8), "0 10,000 20,000 30,000 40,000 50,000 60,000");
    assert_eq!(marks(Linear, Plain, 0.0, 3e7, 5), "0 1e7 2e7 3e7");
    assert_eq!(marks(Linear, Percent, 0.62, 0.87, 6), "60% 70% 80% 90%");
    assert_eq!(marks(Linear, Percent, 0.995, 1.0, 6), "99.5% 99.6% 99.7% 99.8% 99.9% 100.0%");
    assert_eq!(
        marks(Linear, scaled("FLOP"), 0.0, 2.4e9, 6),
        "0 500 MFLOP 1 GFLOP 1.5 GFLOP 2 GFLOP 2.5 GFLOP"
    );
    assert_eq!(marks(Log10, scaled(""), 1.5e6, 4e9, 6), "1 M 10 M 100 M 1 G");
    assert_eq!(marks(Log10, Plain, 0.06, 2.3, 8), "0.05 0.1 0.2 0.5 1 2 5");
    assert_eq!(marks(Log10, Plain, 2.0, 20.0, 3), "1 10 100");
    assert_eq!(marks(Log10, Plain, 10.0, 10.0, 5), "5 10 20");
    assert_eq!(marks(Log2, Plain, 1.0, 64.0, 8), "1 2 4 8 16 32 64");
    assert_eq!(marks(Log2, Plain, 0.25, 1e9, 6), "1 1,024 1,048,576 2^30");
    assert_eq!(marks(Log2, scaled("B"), 512.0, 4096.0, 6), "512 B 1.02 kB 2.05 kB 4.1 kB");
    // Equal values lie in the middle, or at the lower end if they are zero.
    assert_eq!(marks(Linear, Percent, 0.5, 0.5, 6), "45% 50% 55%");
    assert_eq!(marks(Linear, Plain, 0.0, 0.0, 6), "0 0.2 0.4 0.6 0.8 1.0");
}

#[test]
fn descriptions_have_three_digits() {
    let short = |numbers: AxisNumbers, value: f64| numbers.short(value);
    let scaled = || AxisNumbers::Scaled { unit: "FLOP".to_owned() };
    assert_eq!(short(AxisNumbers::Percent, 0.8733), "87.3%");
    assert_eq!(short(AxisNumbers::Percent, 1.0), "100%");
    assert_eq!(short(AxisNumbers::Plain, 1234.56), "1,235");
    assert_eq!(short(AxisNumbers::Plain, -0.5), "-0.5");
    assert_eq!(short(AxisNumbers::Plain, 0.0), "0");
    assert_eq!(short(scaled(), 1.1e9), "1.1 GFLOP");
    assert_eq!(short(scaled(), 999.0), "999 FLOP");
    assert!(
        accuracy().to_svg(600, 400).contains("hrm: 5 points, from 31% at 1.1 GFLOP to 70% at 17.6 GFLOP.")
    );
}

fn scale() -> impl Strategy<Value = AxisScale> {
    prop_oneof![Just(AxisScale::Linear), Just(AxisScale::Log2), Just(AxisScale::Log10)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn marks_ascend_with_different_texts_in_a_range_that_holds_the_values(
        scale in scale(),
        digits in (1.0_f64..10.0, 1.0_f64..10.0),
        powers in (-30_i32..30, -30_i32..30),
        are_negative in any::<(bool, bool)>(),
        most in 0_usize..12,
    ) {
        let value = |digits: f64, power: i32, is_negative: bool| {
            let sign = if is_negative && scale == AxisScale::Linear { -1.0 } else { 1.0 };
            sign * digits * 10_f64.powi(power)
        };
        let one = value(digits.0, powers.0, are_negative.0);
        let other = value(digits.1, powers.1, are_negative.1);
        let (low, high) = (one.min(other), one.max(other));
        let ruler = Ruler::new(&plain("", scale), Some((low, high)), most);
        let texts: BTreeSet<&String> = ruler.marks.iter().map(|mark| &mark.text).collect();
        prop_assert_eq!(texts.len(), ruler.marks.len(), "{:?}", ruler.marks);
        prop_assert!((2..=most.max(3)).contains(&texts.len()), "{:?}", ruler.marks);
        prop_assert!(ruler.marks.is_sorted_by(|one, next| one.place < next.place), "{:?}", ruler.marks);
        let (from, to) = (ruler.place(low), ruler.place(high));
        prop_assert!(0.0 <= from && from <= to && to <= 1.0, "{from} {to}");
        prop_assert!(ruler.marks.iter().all(|mark| (0.0..=1.0).contains(&mark.place)));
        prop_assert!(low == high || (high - low) / high.abs().max(low.abs()) < 1e-6 || from < to);
    }
}

#[test]
fn a_column_has_each_chart_below_the_one_before() {
    let charts = [accuracy(), segments(), accuracy()];
    let image = column(&charts, 480, 300);
    let elements = elements(&image);
    let images: Vec<&SvgElement> = elements.iter().filter(|element| element.name == "svg").collect();
    assert_eq!(images.len(), 4);
    let mut below = 0.0;
    for image in &images[1..] {
        assert_eq!(image.attribute("y").map_or(0.0, |y| y.parse().expect("it is a number")), below);
        below += image.number("height");
    }
    assert_eq!(images[0].number("height"), below);
    assert_eq!(column(&charts[..1], 480, 300), charts[0].to_svg(480, 300));
}

/// Records a form of a chart.
pub(super) fn record(case: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/chart");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(case, text));
}

#[test]
fn images_are_recorded() {
    record("accuracy_as_svg", &accuracy().to_svg(640, 400));
    record("segments_as_svg", &segments().to_svg(480, 300));
}

#[test]
fn texts_are_recorded() {
    for (case, chart) in [("accuracy", accuracy()), ("segments", segments())] {
        let [braille, ascii] = [Glyphs::Braille, Glyphs::Ascii].map(|glyphs| chart.to_text(64, glyphs));
        record(&format!("{case}_as_text"), &format!("{braille}\n---------- ascii ----------\n\n{ascii}"));
    }
}
