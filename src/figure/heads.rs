//! What follows the segment: heads, the target of a Q value, and losses.

use super::cost::SegmentCost;
use super::sheet::{Anchor, EDGE, Frame, Heading, SMALL_FONT, STRONG_FONT, Sheet, text_width};
use super::strip::{Leaving, StripEnds, class_of};
use crate::graph::Phase;
use crate::ir::{Loss, Model, QOutputs};
use crate::lower::{Purpose, Q_LOSS_SCALE};
use crate::units::{bytes, counted, flops, grouped};

/// Room between boxes that are side by side.
const GAP: f64 = 22.0;
/// Height in which lines turn to the heads.
const TURNS: f64 = 36.0;
/// Height between a head and its loss, with the words there.
const BETWEEN: f64 = 38.0;
/// Height of one line of text in a box.
const ROW: f64 = 14.0;
/// Height of a box around its text.
const AROUND: f64 = 12.0;
const SUM_HEIGHT: f64 = 28.0;

/// What follows the segment, laid out.
pub(super) struct HeadsPanel {
    columns: Vec<HeadColumn>,
    /// The whole loss in words; absent where nothing is trained.
    sum: Option<String>,
}

/// A head with its loss, or what makes a target with the loss that has it.
struct HeadColumn {
    kind: HeadKind,
    head: Vec<String>,
    title: String,
    /// What goes to the loss.
    output: String,
    /// Absent where nothing is trained.
    loss: Option<Vec<String>>,
    width: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeadKind {
    Tokens,
    Q,
    Target,
}

impl HeadsPanel {
    /// Lays out what follows the segment of `model`.
    pub fn of(model: &Model, cost: &SegmentCost) -> HeadsPanel {
        let mut columns = vec![tokens(model, cost)];
        columns.extend(q_values(model, cost));
        columns.extend(target(model, cost));
        let scale = Q_LOSS_SCALE;
        let sum = model.train.as_ref().map(|_| match columns.len() {
            1 => "loss = token loss".to_owned(),
            2 => format!("loss = token loss + {scale} · q_halt loss"),
            _ => format!("loss = token loss + {scale} · (q_halt loss + q_continue loss)"),
        });
        HeadsPanel { columns, sum }
    }

    /// Returns whether the target of a Q value is made from one more segment.
    pub fn has_target(cost: &SegmentCost) -> bool {
        cost.memory(&cost.scope.target_q_continue()).is_some()
    }

    /// Returns the width that it needs.
    pub fn width(&self) -> f64 {
        self.columns.iter().map(|column| column.width + GAP).sum::<f64>() - GAP
    }

    /// Returns the height that it needs.
    pub fn height(&self) -> f64 {
        let loss = match &self.sum {
            Some(_) => BETWEEN + self.loss_height() + BETWEEN - ROW + SUM_HEIGHT,
            None => 0.0,
        };
        TURNS + self.head_height() + loss
    }

    fn head_height(&self) -> f64 {
        AROUND + ROW * self.columns.iter().map(|column| column.head.len()).max().unwrap_or(0) as f64
    }

    fn loss_height(&self) -> f64 {
        let lines = self.columns.iter().filter_map(|column| column.loss.as_ref()).map(Vec::len);
        AROUND + ROW * lines.max().unwrap_or(0) as f64
    }

    /// Draws it below the segment, as far to the right as that goes.
    pub fn draw(&self, sheet: &mut Sheet, ends: &StripEnds, width: f64) {
        let leaving: Vec<Leaving> =
            [Some(ends.token_head), ends.q_head, ends.carry].into_iter().flatten().collect();
        let frames = self.head_frames(&leaving, ends.bottom, width);
        for (index, (column, frame)) in self.columns.iter().zip(&frames).enumerate() {
            // A line that comes later turns lower, so that it crosses none before it.
            let turn = ends.bottom + 6.0 + 8.0 * index as f64;
            let Leaving { x, flows } = leaving[index];
            let (class, to) = (class_of(flows), frame.middle());
            let line = [(x, ends.bottom), (x, turn), (to, turn), (to, frame.y - 7.0)];
            sheet.line(&format!("wire{class}"), &line);
            sheet.tip((to, frame.y), Heading::Down, class);
            let learns = if column.kind == HeadKind::Target { "" } else { " learns" };
            sheet.frame(*frame, &format!("box{learns} plain"), &column.title);
            draw_lines(sheet, *frame, &column.head);
        }
        if let Some(sum) = &self.sum {
            self.draw_losses(sheet, &frames, sum);
        }
    }

    /// Returns the frames of the heads: each below what it reads, or as near to that as there is room.
    fn head_frames(&self, leaving: &[Leaving], bottom: f64, width: f64) -> Vec<Frame> {
        let mut right = width - EDGE;
        let mut frames = Vec::new();
        for (column, leaving) in self.columns.iter().zip(leaving).rev() {
            let middle = leaving.x.min(right - column.width / 2.0);
            let (x, y) = (middle - column.width / 2.0, bottom + TURNS);
            frames.push(Frame { x, y, width: column.width, height: self.head_height() });
            right = x - GAP;
        }
        frames.reverse();
        frames
    }

    fn draw_losses(&self, sheet: &mut Sheet, heads: &[Frame], sum: &str) {
        let top = heads[0].bottom() + BETWEEN;
        let sum_top = top + self.loss_height() + BETWEEN - ROW;
        for (column, head) in self.columns.iter().zip(heads) {
            let Some(texts) = &column.loss else { continue };
            let frame = Frame { y: top, height: self.loss_height(), ..*head };
            let middle = frame.middle();
            let flows = column.kind != HeadKind::Target;
            let class = class_of(flows);
            sheet.line(&format!("wire{class}"), &[(middle, head.bottom()), (middle, top - 7.0)]);
            sheet.tip((middle, top), Heading::Down, class);
            sheet.text(middle + 8.0, top - 10.0, Anchor::Start, "small soft", &column.output);
            sheet.frame(frame, "box learns plain", "");
            draw_lines(sheet, frame, texts);
            sheet.line("wire flow", &[(middle, frame.bottom()), (middle, sum_top - 7.0)]);
            sheet.tip((middle, sum_top), Heading::Down, " flow");
        }
        if let [_, q, target] = heads {
            // The Q head has a second value, beside the target that it is held against.
            let (from, to) = (q.right() - 14.0, target.x + 26.0);
            let turn = q.bottom() + 13.0;
            sheet.line("wire flow", &[(from, q.bottom()), (from, turn), (to, turn), (to, top - 7.0)]);
            sheet.tip((to, top), Heading::Down, " flow");
            sheet.text(to - 6.0, turn + 15.0, Anchor::End, "small soft", "q_continue");
        }
        let (x, right) = (heads[0].x, heads[heads.len() - 1].right());
        let width = (right - x).max(text_width(sum, STRONG_FONT) + 20.0);
        let frame = Frame { x: right - width, y: sum_top, width, height: SUM_HEIGHT };
        sheet.frame(frame, "box learns plain", "");
        sheet.text(frame.middle(), frame.y + 18.0, Anchor::Middle, "strong", sum);
    }
}

impl HeadColumn {
    fn new(
        kind: HeadKind,
        head: Vec<String>,
        title: String,
        output: String,
        loss: Option<Vec<String>>,
    ) -> HeadColumn {
        let widest = |lines: &[String]| {
            let width = |(index, line): (usize, &String)| {
                text_width(line, if index == 0 { STRONG_FONT } else { SMALL_FONT })
            };
            lines.iter().enumerate().map(width).fold(0.0, f64::max)
        };
        // The output stands beside the line in the middle.
        let output_width = 2.0 * (text_width(&output, SMALL_FONT) + 8.0);
        let texts = widest(&head).max(loss.as_ref().map_or(0.0, |loss| widest(loss)));
        HeadColumn { kind, head, title, output, loss, width: (texts + 20.0).max(output_width) }
    }
}

/// Draws lines of text in the middle of a box, the first one stronger.
fn draw_lines(sheet: &mut Sheet, frame: Frame, lines: &[String]) {
    let mut baseline = frame.y + (frame.height - ROW * lines.len() as f64) / 2.0 + 11.0;
    for (index, line) in lines.iter().enumerate() {
        let class = if index == 0 { "strong" } else { "small" };
        sheet.text(frame.middle(), baseline, Anchor::Middle, class, line);
        baseline += ROW;
    }
}

/// Returns the work of a head in words.
fn work(cost: &SegmentCost, head: Purpose, is_trained: bool) -> String {
    let forward = format!("→ {}", flops(cost.work(Phase::Forward, head).flops));
    match is_trained {
        true => format!("{forward}, ← {}", flops(cost.work(Phase::Backward, head).flops)),
        false => forward,
    }
}

fn tokens(model: &Model, cost: &SegmentCost) -> HeadColumn {
    let parameters = format!("{} parameters", grouped(cost.parameters.token_head));
    let head =
        vec!["token head".to_owned(), parameters, work(cost, Purpose::TokenHead, model.train.is_some())];
    let (ty, size) = match cost.memory(&cost.scope.logits()) {
        Some(ty) => (ty.to_string(), bytes(ty.bytes() as u64)),
        None => (String::new(), String::new()),
    };
    let title = format!(
        "from {} to {} tokens at {} positions: {ty}",
        model.states[model.token_head.state.0].name, model.tokens.vocab, model.tokens.positions
    );
    let loss = model.train.as_ref().map(|train| {
        let kind = match train.loss {
            Loss::Stablemax => "stablemax cross entropy",
            Loss::Softmax => "softmax cross entropy",
        };
        vec!["token loss".to_owned(), kind.to_owned(), "target: the labels".to_owned()]
    });
    HeadColumn::new(HeadKind::Tokens, head, title, format!("logits, {size}"), loss)
}

fn q_values(model: &Model, cost: &SegmentCost) -> Option<HeadColumn> {
    let q_head = model.q_head.as_ref()?;
    let outputs = match q_head.outputs {
        QOutputs::HaltContinue => "q_halt and q_continue",
        QOutputs::Halt => "q_halt",
    };
    let head = vec![
        "q head".to_owned(),
        format!("{} parameters", grouped(cost.parameters.q_head)),
        work(cost, Purpose::QHead, model.train.is_some()),
    ];
    let state = &model.states[q_head.state.0].name;
    let title = format!("{outputs} from position {} of {state}", q_head.position);
    let loss = model.train.as_ref().map(|_| {
        vec![
            "q_halt loss".to_owned(),
            "binary cross entropy".to_owned(),
            "target: all tokens right".to_owned(),
        ]
    });
    Some(HeadColumn::new(HeadKind::Q, head, title, "q_halt".to_owned(), loss))
}

fn target(model: &Model, cost: &SegmentCost) -> Option<HeadColumn> {
    if !HeadsPanel::has_target(cost) {
        return None;
    }
    let updates = counted(crate::ir::unroll(model).len(), "update");
    let head = vec![
        "one more segment".to_owned(),
        format!("{updates}, no gradient"),
        format!("→ {}", flops(cost.flops(Phase::Target))),
    ];
    let title =
        "the target of q_continue: the sigmoid of the larger Q value of one more segment, or of its q_halt \
                 where no further segment follows"
            .to_owned();
    let loss =
        vec!["q_continue loss".to_owned(), "binary cross entropy".to_owned(), "target: σ(max q)".to_owned()];
    let loss = model.train.is_some().then_some(loss);
    Some(HeadColumn::new(HeadKind::Target, head, title, "σ(max q)".to_owned(), loss))
}
