use super::columns::StripColumn;
use super::cost::SegmentCost;
use super::gradients::Gradients;
use super::{MOST_WIDTH, Strip, to_svg};
use crate::census::{Census, CensusOptions};
use crate::chart::testing::{SvgElement, TextBox, elements, text_boxes};
use crate::graph::Phase;
use crate::ir::testing::{example, repeat, update};
use crate::ir::{Gradient, Model, Network, Operand, QHead, QOutputs, State, StateId, Step};
use crate::lower::{Purpose, Sizes};
use crate::spec::Spec;

const SHIPPED: [&str; 17] = [
    "examples/sorting",
    "specs/ablation-3x3",
    "specs/ablation-6x3",
    "specs/arc-1",
    "specs/arc-2",
    "specs/direct",
    "specs/maze",
    "specs/no-act",
    "specs/quickstart",
    "specs/recurrent",
    "specs/sudoku",
    "specs/sudoku-full",
    "specs/sudoku-small",
    "specs/three-level",
    "specs/trm-arc",
    "specs/trm-maze",
    "specs/trm-sudoku",
];

const FIXTURES: [&str; 6] = [
    "tests/fixtures/ok/commas_newlines_and_constants",
    "tests/fixtures/ok/learned_positions_replace_rotation",
    "tests/fixtures/ok/one_network_serves_both_states",
    "tests/fixtures/ok/q_learning_without_a_target_needs_halt_alone",
    "tests/fixtures/ok/residual_stops_what_has_settled",
    "tests/fixtures/ok/three_levels_are_one_more_loop",
];

fn open(name: &str) -> Spec {
    Spec::open(format!("{name}.hrm"), &[]).expect("the spec has no error")
}

fn state(index: usize) -> Operand {
    Operand::State(StateId(index))
}

const ROWS: Sizes = Sizes { batch: 3, puzzle_rows: 1 };

/// Models at the edge of what there is to draw; they are not trained.
fn edge_cases() -> Vec<Model> {
    let low = || update(0, 0, &[state(0), state(1), Operand::Input]);
    let high = || update(1, 1, &[state(1), state(0)]);
    let with = |segment: Vec<Step>, gradient: Gradient| Model { segment, gradient, ..example() };
    let last = |count, label: &str| Gradient::Last { count, label: label.to_owned() };
    let nested = |label: &str, counts: [usize; 3]| {
        let inner = repeat(Some("inner"), counts[2], vec![low()]);
        let middle = repeat(None, counts[1], vec![inner, high()]);
        vec![repeat(Some(label), counts[0], vec![middle, high()])]
    };
    let mut models = vec![
        // A summand that occurs twice, a value that nothing reads, and gradients in two places.
        with(vec![update(0, 0, &[state(0), state(0), state(1), state(1)]), high()], Gradient::Full),
        with(
            vec![update(0, 0, &[Operand::Input]), update(0, 0, &[Operand::Input]), high()],
            Gradient::OneStep,
        ),
        with(vec![low(), repeat(None, 20, vec![high()])], Gradient::OneStep),
        with(vec![high(), low()], Gradient::Full),
        with(nested("outer", [1, 1, 1]), Gradient::OneStep),
        with(nested("a_loop_with_a_name_that_is_longer_than_its_bracket", [2, 3, 40]), last(2, "inner")),
        with(nested("outer", [30, 1, 2]), last(7, "outer")),
        with((0..40).flat_map(|_| [low(), high()]).collect(), Gradient::OneStep),
    ];
    let name = |index: usize| format!("{}<&\"{index}", "name_".repeat(4 * index));
    let mut many = example();
    many.name = "a model with a name that is as long as can be ".repeat(9);
    many.states = (0..9)
        .map(|index| State { name: name(index), stored_as: name(index), ..many.states[0].clone() })
        .collect();
    many.networks = (0..9)
        .map(|index| Network { name: name(index), stored_as: name(index), ..many.networks[0].clone() })
        .collect();
    let all: Vec<Operand> = (0..9).map(state).chain([Operand::Input]).collect();
    many.segment = vec![repeat(Some("all"), 3, (0..9).map(|index| update(index, index, &all)).collect())];
    many.gradient = last(1, "all");
    many.q_head = Some(QHead { state: StateId(7), position: 3, bias: 0.0, outputs: QOutputs::HaltContinue });
    models.push(many);
    models
}

/// A rectangle of an image.
#[derive(Debug, Clone, Copy)]
struct Rectangle {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Rectangle {
    fn of(element: &SvgElement) -> Rectangle {
        let [x, y, width, height] = ["x", "y", "width", "height"].map(|name| element.number(name));
        Rectangle { left: x, right: x + width, top: y, bottom: y + height }
    }

    fn of_text(text: &TextBox) -> Rectangle {
        let &TextBox { left, right, top, bottom, .. } = text;
        Rectangle { left, right, top, bottom }
    }

    fn is_apart_from(&self, other: &Rectangle) -> bool {
        self.right <= other.left
            || other.right <= self.left
            || self.bottom <= other.top
            || other.bottom <= self.top
    }

    fn is_inside(&self, other: &Rectangle) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }

    /// Returns what is left without the border.
    fn without_border(&self) -> Rectangle {
        let Rectangle { left, right, top, bottom } = *self;
        Rectangle { left: left + 1.5, right: right - 1.5, top: top + 1.5, bottom: bottom - 1.5 }
    }
}

fn has_class(element: &SvgElement, class: &str) -> bool {
    element.attribute("class").is_some_and(|classes| classes.split(' ').any(|one| one == class))
}

/// Returns the pieces of the lines of an image: paths of one place and steps to the side and down.
fn pieces(elements: &[SvgElement]) -> Vec<Rectangle> {
    let mut pieces = Vec::new();
    for path in elements.iter().filter(|element| element.name == "path" && !has_class(element, "tip")) {
        let path =
            path.attribute("d").expect("a path has places").strip_prefix('M').expect("it begins somewhere");
        let number = |text: &str| text.parse::<f64>().expect("it is a number");
        let steps_at = path.find(['H', 'V']).expect("it goes somewhere");
        let (x, y) = path[..steps_at].split_once(' ').expect("a place has two numbers");
        let (mut x, mut y) = (number(x), number(y));
        let mut rest = &path[steps_at..];
        while !rest.is_empty() {
            let end = rest[1..].find(['H', 'V']).map_or(rest.len(), |end| end + 1);
            let to = number(&rest[1..end]);
            let (old_x, old_y) = (x, y);
            if rest.starts_with('H') {
                x = to;
            } else {
                y = to;
            }
            pieces.push(Rectangle {
                left: old_x.min(x),
                right: old_x.max(x),
                top: old_y.min(y),
                bottom: old_y.max(y),
            });
            rest = &rest[end..];
        }
    }
    pieces
}

/// Panics unless everything in an image is inside of it, no text lies on another, on a line or on a border, and no line
/// goes through a box.
fn check_layout(svg: &str, name: &str) {
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    let elements = elements(svg);
    let view: Vec<f64> = elements[0]
        .attribute("viewBox")
        .expect("the root has a view")
        .split(' ')
        .map(|number| number.parse().expect("it is a number"))
        .collect();
    let view = Rectangle { left: 0.0, right: view[2], top: 0.0, bottom: view[3] };
    let texts = text_boxes(&elements);
    let rectangles = |wanted: &[&str]| -> Vec<Rectangle> {
        let is_wanted = |element: &&SvgElement| {
            element.name == "rect" && wanted.iter().any(|class| has_class(element, class))
        };
        elements.iter().filter(is_wanted).map(Rectangle::of).collect()
    };
    let boxes = rectangles(&["box", "loop", "again"]);
    let pieces = pieces(&elements);
    for (index, text) in texts.iter().enumerate() {
        let place = Rectangle::of_text(text);
        assert!(place.is_inside(&view), "{name}: {text:?} leaves {view:?}");
        for other in &texts[index + 1..] {
            assert!(place.is_apart_from(&Rectangle::of_text(other)), "{name}: {text:?} and {other:?}");
        }
        for frame in &boxes {
            let is_fine = place.is_apart_from(frame) || place.is_inside(frame);
            assert!(is_fine, "{name}: {text:?} on the border {frame:?}");
        }
        // What lies under a box of iterations that are left out is hidden.
        let is_hiding = rectangles(&["again"]).iter().any(|frame| place.is_inside(frame));
        for piece in pieces.iter().filter(|_| !is_hiding) {
            assert!(place.is_apart_from(piece), "{name}: {text:?} on {piece:?}");
        }
    }
    for (index, one) in boxes.iter().enumerate() {
        assert!(one.is_inside(&view), "{name}: {one:?} leaves {view:?}");
        for other in &boxes[index + 1..] {
            let is_fine = one.is_apart_from(other) || one.is_inside(other) || other.is_inside(one);
            assert!(is_fine, "{name}: {one:?} and {other:?}");
        }
    }
    for piece in &pieces {
        assert!(piece.is_inside(&view), "{name}: {piece:?} leaves {view:?}");
        for frame in rectangles(&["box"]) {
            let is_fine = piece.is_apart_from(&frame.without_border()) || frame.bottom - frame.top < 16.0;
            assert!(is_fine, "{name}: {piece:?} through {frame:?}");
        }
    }
}

fn width_of(svg: &str) -> f64 {
    elements(svg)[0].number("width")
}

#[test]
fn pictures_of_shipped_specs_have_room_for_everything() {
    for name in SHIPPED {
        let spec = open(name);
        let svg = to_svg(spec.model(), Sizes::of(spec.model()));
        check_layout(&svg, name);
        assert!(width_of(&svg) <= MOST_WIDTH, "{name}");
    }
}

#[test]
fn pictures_of_strange_models_have_room_for_everything() {
    for (index, model) in edge_cases().iter().enumerate() {
        check_layout(&to_svg(model, ROWS), &format!("case {index}"));
    }
    for name in FIXTURES {
        let spec = open(name);
        check_layout(&to_svg(spec.model(), ROWS), name);
    }
}

#[test]
fn long_segments_stay_small() {
    let models = edge_cases();
    let columns = |model: &Model| {
        let gradients = Gradients::of(model);
        let cost = SegmentCost::of(model, ROWS);
        let strip = Strip::new(model, &gradients, &cost, false, MOST_WIDTH);
        (gradients.updates.len(), strip.columns().len())
    };
    assert_eq!(columns(&models[5]), (248, 17));
    assert_eq!(columns(&models[6]), (120, 10));
}

#[test]
fn the_work_that_is_drawn_adds_up_to_that_of_the_report() {
    for name in ["examples/sorting", "specs/quickstart", "specs/trm-sudoku", "specs/three-level"] {
        let spec = open(name);
        let (model, sizes) = (spec.model(), Sizes { batch: 2, puzzle_rows: 1 });
        let cost = SegmentCost::of(model, sizes);
        let report = serde_json::json!(Census::of(model, sizes, CensusOptions::default()));
        for phase in [Phase::Forward, Phase::Backward] {
            let drawn = drawn(model, &cost, phase);
            assert_eq!(report["train"]["phases"][phase.name()]["flops"], drawn, "{name} {}", phase.name());
        }
        assert_eq!(
            report["train"]["phases"]["target"]["flops"].as_u64().unwrap_or(0),
            cost.flops(Phase::Target)
        );
        assert_eq!(report["train"]["kept_bytes"], cost.kept_bytes, "{name}");
    }
}

/// Returns the operations of all that a picture has, of one phase.
fn drawn(model: &Model, cost: &SegmentCost, phase: Phase) -> u64 {
    let gradients = Gradients::of(model);
    let strip = Strip::new(model, &gradients, cost, false, MOST_WIDTH);
    let updates = strip.columns().iter().flat_map(StripColumn::updates).map(Purpose::Update);
    let purposes = updates.chain([Purpose::TokenHead, Purpose::QHead]);
    purposes.map(|purpose| cost.work(phase, purpose).flops).sum()
}

#[test]
fn the_gradient_is_drawn_where_the_compiler_computes_one() {
    for name in SHIPPED.iter().chain(&FIXTURES) {
        let spec = open(name);
        let (gradients, cost) = (Gradients::of(spec.model()), SegmentCost::of(spec.model(), ROWS));
        for (index, &reached) in gradients.reached.iter().enumerate() {
            let backward = cost.work(Phase::Backward, Purpose::Update(index)).flops;
            assert_eq!(backward > 0, reached && spec.model().train.is_some(), "{name}, update {index}");
        }
        for phase in [Phase::Forward, Phase::Backward] {
            assert_eq!(drawn(spec.model(), &cost, phase), cost.flops(phase), "{name}");
        }
    }
}

#[test]
fn pictures_of_small_specs() {
    for (name, case) in [
        ("examples/sorting", "iterations_of_a_loop_without_a_name"),
        ("tests/fixtures/ok/direct_prediction_is_one_update", "direct_prediction_is_one_update"),
    ] {
        let spec = open(name);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../snapshots/figure");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(case, to_svg(spec.model(), ROWS)));
    }
}
