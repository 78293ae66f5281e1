//! The loop nest as boxes in boxes.

use super::sheet::{Anchor, FONT, Frame, STRONG_FONT, Sheet, shortened, text_width};
use super::words::formula;
use crate::chart::svg::colour;
use crate::ir::{Halt, Model, Step};

/// Most room for the text of a box.
const MOST_TEXT: f64 = 380.0;
const UPDATE_HEIGHT: f64 = 26.0;
const HEADER: f64 = 22.0;
const MARGIN: f64 = 10.0;
const GAP: f64 = 8.0;

/// A box of the loop nest.
pub(super) struct LoopBox {
    text: String,
    /// The text, whole.
    title: String,
    content: LoopContent,
    width: f64,
    height: f64,
}

enum LoopContent {
    /// An update, by the network that computes it.
    Update { network: usize },
    /// What each iteration does.
    Loop(Vec<LoopBox>),
}

impl LoopBox {
    /// Lays out the segments that a row goes through.
    pub fn of(model: &Model) -> LoopBox {
        let most = match model.halt {
            Halt::Fixed { .. } | Halt::QLearning { max_segments: 1, .. } => "",
            Halt::QLearning { .. } | Halt::Bce { .. } | Halt::Residual { .. } => " at most",
        };
        LoopBox::repeat(model, format!("segment × {}{most}", model.max_segments()), &model.segment)
    }

    fn repeat(model: &Model, title: String, body: &[Step]) -> LoopBox {
        let inside: Vec<LoopBox> = body.iter().map(|step| LoopBox::step(model, step)).collect();
        let text = shortened(&title, STRONG_FONT, MOST_TEXT);
        let widest = inside.iter().map(|inner| inner.width).fold(text_width(&text, STRONG_FONT), f64::max);
        let height = inside.iter().map(|inner| inner.height + GAP).sum::<f64>() - GAP;
        LoopBox {
            text,
            title,
            content: LoopContent::Loop(inside),
            width: widest + 2.0 * MARGIN,
            height: HEADER + height + MARGIN,
        }
    }

    fn step(model: &Model, step: &Step) -> LoopBox {
        match step {
            Step::Repeat(repeat) => {
                let label = repeat.label.as_deref().unwrap_or("repeat");
                let count = format!(" × {}", repeat.count);
                let label = shortened(label, STRONG_FONT, MOST_TEXT - text_width(&count, STRONG_FONT));
                LoopBox::repeat(model, format!("{label}{count}"), &repeat.body)
            }
            Step::Update(update) => {
                let title = formula(model, update);
                let text = shortened(&title, FONT, MOST_TEXT);
                let width = text_width(&text, FONT) + 2.0 * MARGIN;
                let content = LoopContent::Update { network: update.network.0 };
                LoopBox { text, title, content, width, height: UPDATE_HEIGHT }
            }
        }
    }

    /// Returns the width and the height that it needs.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// Draws it from its upper left corner on.
    pub fn draw(&self, sheet: &mut Sheet, x: f64, y: f64) {
        self.draw_as_wide(sheet, x, y, self.width);
    }

    fn draw_as_wide(&self, sheet: &mut Sheet, x: f64, y: f64, width: f64) {
        let frame = Frame { x, y, width, height: self.height };
        match &self.content {
            LoopContent::Update { network } => {
                sheet.frame(frame, &format!("box learns {}", colour(*network)), &self.title);
                sheet.text(x + MARGIN, y + 17.0, Anchor::Start, "", &self.text);
            }
            LoopContent::Loop(inside) => {
                sheet.frame(frame, "loop", &self.title);
                sheet.text(x + MARGIN, y + 15.0, Anchor::Start, "strong", &self.text);
                let mut top = y + HEADER;
                for inner in inside {
                    inner.draw_as_wide(sheet, x + MARGIN, top, width - 2.0 * MARGIN);
                    top += inner.height + GAP;
                }
            }
        }
    }
}
