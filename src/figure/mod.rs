//! One segment of a model as a picture.
//!
//! # What it shows
//!
//! The picture has three parts. At the top are the loop nest as boxes in boxes, the networks with their parameters, and
//! a key. Below is one segment, unrolled: time goes to the right, the embedded input and each state have a lane of
//! their own, and an update is a box on the lane of the state that it replaces. Lines from other lanes come from what it
//! reads. In a long segment only the first of many equal iterations is drawn. At the bottom are heads, losses, and the
//! work of the segment.
//!
//! A strong line is a value along which the gradient of the loss flows back; lines across show where it is cut. A box
//! has a whole border if the gradient reaches what it computes, and a dashed one if not. Boxes of one colour have the
//! same network and share its weights.
//!
//! All figures are those of the compiled program: the work of the updates, drawn or left out, and of the heads adds up
//! to what the report of the same program says. The same model gives the same bytes.

mod columns;
mod cost;
mod gradients;
mod heads;
mod key;
mod loops;
mod sheet;
mod strip;
#[cfg(test)]
mod tests;
mod words;

use crate::census::spelled_gradient;
use crate::graph::Phase;
use crate::ir::Model;
use crate::lower::Sizes;
use crate::units::{bytes, counted, flops, grouped};

use cost::SegmentCost;
use gradients::Gradients;
use heads::HeadsPanel;
use key::{NetworkKey, Sign, draw_signs, sign_size};
use loops::LoopBox;
use sheet::{Anchor, EDGE, FONT, Sheet, shortened, text_width};
use strip::Strip;

/// Least width of a picture.
const LEAST_WIDTH: f64 = 860.0;
/// Most width of a picture, unless names and figures are so long that a single update needs more.
const MOST_WIDTH: f64 = 1120.0;
const TITLE_FONT: f64 = 15.0;
/// Height of a line of text.
const ROW: f64 = 18.0;
/// Room between the parts of the picture.
const GAP: f64 = 28.0;
/// Room for the work of a segment.
const WORK_WIDTH: f64 = 250.0;

/// Returns the loop nest and one segment of `model` as an SVG image.
pub fn to_svg(model: &Model, sizes: Sizes) -> String {
    let gradients = Gradients::of(model);
    let cost = SegmentCost::of(model, sizes);
    let strip = Strip::new(model, &gradients, &cost, HeadsPanel::has_target(&cost), MOST_WIDTH);
    let heads = HeadsPanel::of(model, &cost);
    let nest = LoopBox::of(model);
    let networks = NetworkKey::of(model, &gradients, &cost.parameters);
    let signs = signs(&gradients, &strip);

    let beside_heads = heads.width() + WORK_WIDTH + GAP + 2.0 * EDGE;
    let widest_block = nest.size().0.max(networks.size().0).max(sign_size(&signs).0) + 2.0 * EDGE;
    let needed = strip.least_width().max(beside_heads).max(widest_block);
    let blocks = [nest.size(), networks.size(), sign_size(&signs)];
    let side_by_side = blocks.iter().map(|size| size.0 + GAP).sum::<f64>() - GAP + 2.0 * EDGE;
    let wished = if side_by_side <= MOST_WIDTH { side_by_side } else { LEAST_WIDTH };
    let width = needed.max(wished).max(LEAST_WIDTH).ceil();

    let mut sheet = Sheet::default();
    let mut y = draw_title(&mut sheet, model, &gradients, &cost, width);
    y = heading(&mut sheet, y, "Loop nest and networks");
    let places = flow(&blocks, y, width);
    nest.draw(&mut sheet, places[0].0, places[0].1);
    networks.draw(&mut sheet, places[1].0, places[1].1);
    draw_signs(&mut sheet, &signs, places[2].0, places[2].1);
    let bottom = places.iter().zip(&blocks).map(|(place, size)| place.1 + size.1).fold(y, f64::max);
    y = heading(&mut sheet, bottom + GAP, "One segment");
    let ends = strip.draw(&mut sheet, y, width);
    heads.draw(&mut sheet, &ends, width);
    let work_bottom = draw_work(&mut sheet, &cost, model, ends.bottom + GAP);
    let bottom = work_bottom.max(ends.bottom + heads.height()) + EDGE;
    let title = format!("{}: loop nest and one segment", model.name);
    sheet.finish(width, bottom.ceil(), &title, &description(model, &gradients, &cost))
}

/// Returns what there is to explain in this picture.
fn signs(gradients: &Gradients<'_>, strip: &Strip<'_>) -> Vec<Sign> {
    let mut signs = vec![Sign::Learns];
    if gradients.reached.contains(&false) {
        signs.push(Sign::Plain);
    }
    signs.extend([Sign::Gradient, Sign::Value, Sign::Detach]);
    if strip.leaves_out() {
        signs.push(Sign::Again);
    }
    signs
}

/// Puts blocks side by side from `y` on, or below each other where there is no room, and returns their corners.
fn flow(blocks: &[(f64, f64)], y: f64, width: f64) -> Vec<(f64, f64)> {
    // Blocks after the first stay to its right if they fit there, below each other if need be.
    let all: f64 = blocks.iter().map(|size| size.0 + GAP).sum::<f64>() - GAP;
    if all <= width - 2.0 * EDGE {
        let slack = (width - 2.0 * EDGE - all) / (blocks.len() as f64 - 1.0).max(1.0);
        let mut x = EDGE;
        return blocks
            .iter()
            .map(|size| {
                let place = (x, y);
                x += size.0 + GAP + slack;
                place
            })
            .collect();
    }
    let first = blocks[0];
    let widest = blocks[1..].iter().map(|size| size.0).fold(0.0, f64::max);
    let (x, mut top) = match first.0 + GAP + widest <= width - 2.0 * EDGE {
        true => (EDGE + first.0 + GAP, y),
        false => (EDGE, y + first.1 + GAP),
    };
    let mut places = vec![(EDGE, y)];
    for size in &blocks[1..] {
        places.push((x, top));
        top += size.1 + ROW / 2.0;
    }
    places
}

fn heading(sheet: &mut Sheet, y: f64, text: &str) -> f64 {
    sheet.text(EDGE, y + 12.0, Anchor::Start, "strong", text);
    y + ROW + 6.0
}

/// Draws the title and what holds for the whole segment, and returns where they end.
fn draw_title(
    sheet: &mut Sheet,
    model: &Model,
    gradients: &Gradients<'_>,
    cost: &SegmentCost,
    width: f64,
) -> f64 {
    let room = width - 2.0 * EDGE;
    sheet.text(EDGE, 28.0, Anchor::Start, "title", &shortened(&model.name, TITLE_FONT * 1.1, room));
    let mut line = String::new();
    let mut y = 48.0;
    for fact in facts(model, gradients, cost) {
        let longer = if line.is_empty() { fact.clone() } else { format!("{line}  ·  {fact}") };
        if text_width(&longer, FONT) <= room {
            line = longer;
        } else {
            sheet.text(EDGE, y, Anchor::Start, "soft", &shortened(&line, FONT, room));
            (line, y) = (fact, y + ROW);
        }
    }
    sheet.text(EDGE, y, Anchor::Start, "soft", &shortened(&line, FONT, room));
    y + ROW
}

/// Returns what holds for the whole segment.
fn facts(model: &Model, gradients: &Gradients<'_>, cost: &SegmentCost) -> Vec<String> {
    let without_puzzles = cost.parameters.total_without_puzzle_table;
    let mut facts = vec![format!("{} parameters", grouped(without_puzzles))];
    if cost.parameters.puzzle_table > 0 {
        facts[0].push_str(" without the puzzle table");
    }
    let state = cost.memory(&cost.scope.carry(&model.states[0].name));
    if let Some(ty) = state {
        facts.push(format!("x and each state: {ty}, {}", bytes(ty.bytes() as u64)));
    }
    let reached = gradients.reached.iter().filter(|&&reached| reached).count();
    let policy = spelled_gradient(&model.gradient);
    facts.push(format!("gradient {policy}: {reached} of {}", counted(gradients.reached.len(), "update")));
    facts
}

/// Draws the work of the segment by phase, and returns where that ends.
fn draw_work(sheet: &mut Sheet, cost: &SegmentCost, model: &Model, top: f64) -> f64 {
    let program = if model.train.is_some() { "training" } else { "evaluation" };
    let mut rows = vec![("program", program.to_owned()), ("rows", grouped(cost.sizes.batch as u64))];
    let phases = [Phase::Forward, Phase::Target, Phase::Backward].into_iter();
    rows.extend(
        phases
            .filter(|phase| cost.phases.contains_key(phase))
            .map(|phase| (phase.name(), flops(cost.flops(phase)))),
    );
    if model.train.is_some() {
        rows.push(("all", flops(cost.phases.values().map(|work| work.flops).fold(0, u64::saturating_add))));
        rows.push(("kept for backward", bytes(cost.kept_bytes)));
    }
    let y = heading(sheet, top, "Work of one segment");
    for (index, (name, figure)) in rows.iter().enumerate() {
        let baseline = y + 10.0 + index as f64 * ROW;
        sheet.text(EDGE, baseline, Anchor::Start, "small soft", name);
        let right = EDGE + WORK_WIDTH - 40.0;
        sheet.text(right, baseline, Anchor::End, "small", figure);
    }
    y + 10.0 + rows.len() as f64 * ROW
}

/// Returns what the picture shows in words.
fn description(model: &Model, gradients: &Gradients<'_>, cost: &SegmentCost) -> String {
    let mut text = String::from("One segment in order:");
    for (index, unrolled) in gradients.updates.iter().take(MOST_DESCRIBED).enumerate() {
        let gradient = if gradients.reached[index] { " with gradient" } else { "" };
        let end = if index + 1 == gradients.updates.len() { '.' } else { ';' };
        text.push_str(&format!(" {}{gradient}{end}", words::formula(model, unrolled.update)));
    }
    if let Some(more) = gradients.updates.len().checked_sub(MOST_DESCRIBED).filter(|&more| more > 0) {
        text.push_str(&format!(" and {}.", counted(more, "more update")));
    }
    text.push_str(&format!(" {}.", facts(model, gradients, cost).join("; ")));
    text
}

/// Most updates that are described in words.
const MOST_DESCRIBED: usize = 48;
