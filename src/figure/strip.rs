//! One segment, unrolled: time goes to the right, each state has a line of its own, and an update is a box on the line
//! of the state that it replaces.

use std::collections::BTreeMap;
use std::ops::Range;

use super::columns::{LoopBracket, StripColumn, StripColumns};
use super::cost::SegmentCost;
use super::gradients::Gradients;
use super::sheet::{
    Anchor, EDGE, FONT, Frame, Heading, SMALL_FONT, STRONG_FONT, Sheet, shortened, text_width,
};
use super::words::formula;
use crate::chart::svg::colour;
use crate::graph::Phase;
use crate::ir::{Model, Operand, StateId};
use crate::lower::Purpose;
use crate::units::{bytes, flops};

/// Most room for a name, of a state or a network.
const MOST_NAME: f64 = 120.0;
/// Room between columns.
const GAP: f64 = 20.0;
/// Most room for a column with what is between it and the next.
const MOST_PITCH: f64 = 140.0;
/// Height of the brackets of one loop.
const BRACKET: f64 = 25.0;
/// Height of the words above the lines that stop the gradient.
const CUT_ROW: f64 = 18.0;
/// Height that the embedded input has.
const INPUT_LANE: f64 = 36.0;
/// Height that a state has.
const LANE: f64 = 66.0;
/// Room below the states.
const BELOW: f64 = 8.0;
/// Room from the last column to the first head, and from there to the next line down.
const STEP: f64 = 22.0;
/// Room for the carry at the right.
const CARRY: f64 = 56.0;

/// A place along the segment: which line it is in, and how far from the left.
type Along = (usize, f64);

/// The unrolled segment, laid out.
pub(super) struct Strip<'a> {
    model: &'a Model,
    gradients: &'a Gradients<'a>,
    cost: &'a SegmentCost,
    columns: StripColumns,
    /// The columns of each line.
    lines: Vec<Range<usize>>,
    box_width: f64,
    /// Room for the names of states.
    labels: f64,
    /// Whether the target of a Q value is made from one more segment.
    has_target: bool,
}

/// What leaves the segment downwards: where it is, and whether the gradient comes back along it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Leaving {
    pub x: f64,
    pub flows: bool,
}

/// What leaves the segment downwards.
pub(super) struct StripEnds {
    pub token_head: Leaving,
    pub q_head: Option<Leaving>,
    /// The carry, where one more segment reads it.
    pub carry: Option<Leaving>,
    pub bottom: f64,
}

/// The present value of a state, or the embedded input.
struct Wire {
    from: Along,
    /// Whether the gradient reaches it.
    reached: bool,
    readers: Vec<Tap>,
}

/// Where a value is read.
struct Tap {
    at: Along,
    flows: bool,
}

/// A stretch of a lane along which the gradient flows back.
struct FlowStretch {
    lane: usize,
    from: Along,
    to: Along,
}

impl<'a> Strip<'a> {
    /// Lays out the segment in lines of at most `most_width`.
    pub fn new(
        model: &'a Model,
        gradients: &'a Gradients<'a>,
        cost: &'a SegmentCost,
        has_target: bool,
        most_width: f64,
    ) -> Strip<'a> {
        let marks: Vec<(bool, u64, u64)> = gradients
            .reached
            .iter()
            .enumerate()
            .map(|(index, &reached)| {
                let flops = |phase| cost.work(phase, Purpose::Update(index)).flops;
                (reached, flops(Phase::Forward), flops(Phase::Backward))
            })
            .collect();
        let mut strip = Strip {
            model,
            gradients,
            cost,
            columns: StripColumns::new(model, &marks, usize::MAX),
            lines: Vec::new(),
            box_width: 0.0,
            labels: 0.0,
            has_target,
        };
        let widest = |texts: &[(String, f64)]| {
            texts.iter().map(|(text, font)| text_width(text, *font)).fold(0.0, f64::max)
        };
        let texts: Vec<(String, f64)> =
            (0..marks.len()).flat_map(|index| strip.column_texts(&StripColumn::Update(index))).collect();
        strip.box_width = widest(&texts) + 10.0;
        let labels: Vec<(String, f64)> = (0..model.states.len())
            .flat_map(|state| {
                let (name, size) = strip.lane_texts(StateId(state));
                [(name, STRONG_FONT), (size, SMALL_FONT)]
            })
            .collect();
        strip.labels = widest(&labels).max(54.0);
        let room = ((most_width - strip.around() + GAP) / (strip.box_width + GAP)).floor().max(1.0) as usize;
        strip.columns = StripColumns::new(model, &marks, room);
        // Names of loops are cut where they have to be, and the numbers of their iterations are not.
        let brackets = strip.columns.brackets.iter().filter(|bracket| bracket.columns.len() == 1);
        let numbers = brackets.map(|bracket| text_width(&format!("…{}", iterations(bracket)), SMALL_FONT));
        strip.box_width = numbers.fold(strip.box_width, f64::max);
        let texts: Vec<(String, f64)> =
            strip.columns.columns.iter().flat_map(|column| strip.column_texts(column)).collect();
        strip.box_width = strip.box_width.max(widest(&texts) + 10.0);
        let room = ((most_width - strip.around() + GAP) / (strip.box_width + GAP)).floor().max(1.0) as usize;
        strip.lines = strip.columns.lines(room);
        strip
    }

    /// Returns what is drawn, in order.
    pub fn columns(&self) -> &[StripColumn] {
        &self.columns.columns
    }

    /// Returns whether iterations are left out.
    pub fn leaves_out(&self) -> bool {
        self.columns().iter().any(|column| matches!(column, StripColumn::LeftOut { .. }))
    }

    /// Returns the width that the lines need at least.
    pub fn least_width(&self) -> f64 {
        self.around() + self.most_columns() * (self.box_width + GAP) - GAP
    }

    /// Returns the columns of the longest line.
    fn most_columns(&self) -> f64 {
        self.lines.iter().map(|line| line.len()).max().unwrap_or(0) as f64
    }

    /// Returns the room beside the columns.
    fn around(&self) -> f64 {
        2.0 * EDGE + self.labels + GAP + self.right_of_columns()
    }

    fn right_of_columns(&self) -> f64 {
        let heads = 1.0 + f64::from(u8::from(self.model.q_head.is_some()));
        let carry = if self.has_target { STEP } else { 0.0 };
        (heads + 1.0) * STEP + carry + CARRY
    }

    fn lane_texts(&self, state: StateId) -> (String, String) {
        let name = &self.model.states[state.0].name;
        let size = self.cost.memory(&self.cost.scope.carry(name)).map_or(0, |ty| ty.bytes());
        (shortened(name, STRONG_FONT, MOST_NAME), bytes(size as u64))
    }

    /// Returns whether the gradient reaches any update of a column.
    fn is_reached(&self, column: usize) -> bool {
        self.columns.columns[column].updates().any(|index| self.gradients.reached[index])
    }

    /// Returns the lines of text of a column, each with the size of its font.
    fn column_texts(&self, column: &StripColumn) -> Vec<(String, f64)> {
        let work = |phase| {
            let of = |index| self.cost.work(phase, Purpose::Update(index)).flops;
            column.updates().map(of).fold(0, u64::saturating_add)
        };
        let backward = work(Phase::Backward);
        let reached = column.updates().any(|index| self.gradients.reached[index]);
        let mut texts = match column {
            StripColumn::Update(index) => {
                let network = self.gradients.updates[*index].update.network;
                vec![(shortened(&self.model.networks[network.0].name, FONT, MOST_NAME), FONT)]
            }
            StripColumn::LeftOut { iterations, .. } => {
                vec![(format!("{iterations} more,"), FONT), ("as before".to_owned(), FONT)]
            }
        };
        texts.push((format!("→ {}", flops(work(Phase::Forward))), SMALL_FONT));
        if reached && (backward > 0 || self.model.train.is_some()) {
            texts.push((format!("← {}", flops(backward)), SMALL_FONT));
        }
        texts
    }

    /// Draws the lines from `top` on, as wide as the picture, and says where its values leave downwards.
    pub fn draw(&self, sheet: &mut Sheet, top: f64, width: f64) -> StripEnds {
        let room = width - self.around();
        let columns = self.most_columns();
        let pitch = ((room + GAP) / columns).min(MOST_PITCH.max(self.box_width + GAP));
        let drawing =
            StripDrawing { strip: self, top, width, pitch, flows: Vec::new(), above: Sheet::default() };
        drawing.draw(sheet)
    }
}

/// The segment on its way to the sheet.
struct StripDrawing<'a> {
    strip: &'a Strip<'a>,
    top: f64,
    width: f64,
    pitch: f64,
    flows: Vec<FlowStretch>,
    /// What lies above the lanes: lines that leave them, and boxes.
    above: Sheet,
}

impl StripDrawing<'_> {
    fn draw(mut self, sheet: &mut Sheet) -> StripEnds {
        self.draw_tints(sheet);
        let ends = self.draw_wires(sheet);
        sheet.put(std::mem::take(&mut self.above));
        self.draw_cuts(sheet);
        for line in 0..self.strip.lines.len() {
            self.draw_labels(sheet, line);
        }
        for bracket in &self.strip.columns.brackets {
            self.draw_bracket(sheet, bracket);
        }
        for (index, column) in self.strip.columns.columns.iter().enumerate() {
            self.draw_column(sheet, index, column);
        }
        ends
    }

    fn states(&self) -> usize {
        self.strip.model.states.len()
    }

    fn head(&self) -> f64 {
        self.strip.columns.depth() as f64 * BRACKET + CUT_ROW
    }

    fn line_height(&self) -> f64 {
        self.head() + INPUT_LANE + self.states() as f64 * LANE + BELOW
    }

    fn line_top(&self, line: usize) -> f64 {
        self.top + line as f64 * (self.line_height() + 14.0)
    }

    /// Returns where the states of a line begin.
    fn lanes_top(&self, line: usize) -> f64 {
        self.line_top(line) + self.head()
    }

    fn lanes_bottom(&self, line: usize) -> f64 {
        self.line_top(line) + self.line_height()
    }

    /// Returns the height of a lane in a line: the embedded input is lane 0, and the states follow.
    fn lane(&self, line: usize, lane: usize) -> f64 {
        let top = self.lanes_top(line);
        if lane == 0 { top + 14.0 } else { top + INPUT_LANE + (lane as f64 - 0.5) * LANE }
    }

    fn left(&self) -> f64 {
        EDGE + self.strip.labels + 8.0
    }

    /// Returns the line of a column.
    fn line_of(&self, column: usize) -> usize {
        let is_in = |line: &Range<usize>| line.contains(&column);
        self.strip.lines.iter().position(is_in).expect("every column is in a line")
    }

    fn column_left(&self, column: usize) -> f64 {
        let within = column - self.strip.lines[self.line_of(column)].start;
        // Columns are in the middle of what they have room in.
        let slack = (self.pitch - GAP - self.strip.box_width) / 2.0;
        EDGE + self.strip.labels + GAP + within as f64 * self.pitch + slack
    }

    fn column_right(&self, column: usize) -> f64 {
        self.column_left(column) + self.strip.box_width
    }

    fn last_line(&self) -> usize {
        self.strip.lines.len() - 1
    }

    /// Returns where a line ends that goes on in the next.
    fn line_right(&self, line: usize) -> f64 {
        self.column_right(self.strip.lines[line].end - 1) + GAP / 2.0 + 4.0
    }

    /// Returns where the carry is cut.
    fn carry_cut(&self) -> f64 {
        self.width - EDGE - CARRY - if self.strip.has_target { STEP } else { 0.0 }
    }

    fn q_head(&self) -> Option<f64> {
        self.strip.model.q_head.as_ref().map(|_| self.carry_cut() - STEP)
    }

    fn token_head(&self) -> f64 {
        self.q_head().unwrap_or(self.carry_cut()) - STEP
    }

    /// Returns where one more segment takes the carry.
    fn carry_tap(&self) -> Option<f64> {
        self.strip.has_target.then(|| self.carry_cut() + STEP)
    }

    /// Returns the frame of a column: that of an update, or of what is left out.
    fn frame(&self, index: usize) -> Frame {
        let line = self.line_of(index);
        let (x, width) = (self.column_left(index), self.strip.box_width);
        match &self.strip.columns.columns[index] {
            StripColumn::Update(update) => {
                let unrolled = &self.strip.gradients.updates[*update];
                let lines = self.strip.column_texts(&StripColumn::Update(*update)).len();
                let height = 12.0 + lines as f64 * 14.0;
                let middle = self.lane(line, unrolled.update.state.0 + 1);
                Frame { x, y: middle - height / 2.0, width, height }
            }
            StripColumn::LeftOut { .. } => {
                let y = self.lane(line, 0) - 12.0;
                Frame { x, y, width, height: self.lanes_bottom(line) - BELOW - y }
            }
        }
    }

    fn draw_wires(&mut self, sheet: &mut Sheet) -> StripEnds {
        let strip = self.strip;
        let model = strip.model;
        let begin = (0, self.left());
        let new_wire = |reached| Wire { from: begin, reached, readers: Vec::new() };
        let mut wires: Vec<Wire> = vec![new_wire(strip.gradients.input)];
        wires.extend(model.states.iter().map(|_| new_wire(false)));
        for (index, column) in strip.columns.columns.iter().enumerate() {
            let line = self.line_of(index);
            match column {
                StripColumn::Update(update) => self.draw_reads(&mut wires, index, *update),
                StripColumn::LeftOut { updates, .. } => {
                    let at = (line, self.column_left(index));
                    for (lane, flows) in self.reads_of_before(updates.clone(), &wires) {
                        self.draw_entry(&mut wires, lane, at, flows);
                    }
                }
            }
            let right = (line, self.column_right(index));
            for state in 0..model.states.len() {
                let of_state =
                    |update: &usize| strip.gradients.updates[*update].update.state == StateId(state);
                if let Some(last) = column.updates().rev().find(of_state) {
                    let reached = strip.gradients.reached[last];
                    let new = Wire { from: right, reached, readers: Vec::new() };
                    let old = std::mem::replace(&mut wires[state + 1], new);
                    self.draw_wire(sheet, state + 1, &old);
                }
            }
        }
        self.draw_ends(sheet, wires)
    }

    /// Draws what an update reads, and notes it with the values.
    fn draw_reads(&mut self, wires: &mut [Wire], index: usize, update: usize) {
        let strip = self.strip;
        let unrolled = &strip.gradients.updates[update];
        let reached = strip.gradients.reached[update];
        let line = self.line_of(index);
        let frame = self.frame(index);
        let own = unrolled.update.state.0 + 1;
        let mut lanes: Vec<usize> = unrolled.update.operands.iter().map(lane_of).collect();
        lanes.sort_unstable();
        if lanes.contains(&own) {
            let flows = reached && wires[own].reached;
            self.draw_entry(wires, own, (line, frame.x), flows);
        }
        for is_above in [true, false] {
            let lanes: Vec<usize> =
                lanes.iter().copied().filter(|&lane| lane != own && (lane < own) == is_above).collect();
            for (place, &lane) in lanes.iter().enumerate() {
                let x = frame.x + frame.width * (place + 1) as f64 / (lanes.len() + 1) as f64;
                let flows = reached && wires[lane].reached;
                let from = self.lane(line, lane);
                let (to, heading) =
                    if is_above { (frame.y, Heading::Down) } else { (frame.bottom(), Heading::Up) };
                let before_tip = if is_above { to - 7.0 } else { to + 7.0 };
                self.above.line(&format!("wire{}", class_of(flows)), &[(x, from), (x, before_tip)]);
                self.above.tip((x, to), heading, class_of(flows));
                self.above.dot((x, from), class_of(flows));
                wires[lane].readers.push(Tap { at: (line, x), flows });
            }
        }
    }

    /// Draws how a value goes into a column from the left, and notes it with the value.
    fn draw_entry(&mut self, wires: &mut [Wire], lane: usize, (line, x): Along, flows: bool) {
        wires[lane].readers.push(Tap { at: (line, x - 6.0), flows });
        self.above.tip((x, self.lane(line, lane)), Heading::Right, class_of(flows));
    }

    /// Returns the lanes whose values from before `updates` these read, each with whether the gradient flows.
    fn reads_of_before(&self, updates: Range<usize>, wires: &[Wire]) -> BTreeMap<usize, bool> {
        let mut is_new = vec![false; wires.len()];
        let mut reads: BTreeMap<usize, bool> = BTreeMap::new();
        for index in updates {
            let update = self.strip.gradients.updates[index].update;
            for lane in update.operands.iter().map(lane_of).filter(|&lane| !is_new[lane]) {
                *reads.entry(lane).or_default() |= self.strip.gradients.reached[index] && wires[lane].reached;
            }
            is_new[update.state.0 + 1] = true;
        }
        reads
    }

    /// Draws a value along its lane up to its last reader, and stronger where the gradient flows.
    fn draw_wire(&mut self, sheet: &mut Sheet, lane: usize, wire: &Wire) {
        let last = |taps: &mut dyn Iterator<Item = &Tap>| {
            taps.map(|tap| tap.at).max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        };
        let Some(to) = last(&mut wire.readers.iter()) else {
            // Nothing reads it: it ends at once.
            let (x, y) = (wire.from.1, self.lane(wire.from.0, lane));
            sheet.line("wire", &[(x, y), (x + 9.0, y)]);
            sheet.line("wire", &[(x + 9.0, y - 5.0), (x + 9.0, y + 5.0)]);
            return;
        };
        self.draw_along(sheet, lane, wire.from, to, "wire");
        if let Some(to) = last(&mut wire.readers.iter().filter(|tap| tap.flows)) {
            self.draw_along(sheet, lane, wire.from, to, "wire flow");
            self.flows.push(FlowStretch { lane, from: wire.from, to });
        }
    }

    fn draw_along(&self, sheet: &mut Sheet, lane: usize, from: Along, to: Along, class: &str) {
        for line in from.0..=to.0 {
            let left = if line == from.0 { from.1 } else { self.left() };
            let right = if line == to.0 { to.1 } else { self.line_right(line) };
            let y = self.lane(line, lane);
            sheet.line(class, &[(left, y), (right, y)]);
        }
    }

    /// Draws how a value leaves the segment downwards at `x`.
    fn draw_exit(&mut self, wires: &mut [Wire], lane: usize, x: f64) -> Leaving {
        let line = self.last_line();
        let (y, flows) = (self.lane(line, lane), wires[lane].reached);
        wires[lane].readers.push(Tap { at: (line, x), flows });
        self.above.line(&format!("wire{}", class_of(flows)), &[(x, y), (x, self.lanes_bottom(line))]);
        self.above.dot((x, y), class_of(flows));
        Leaving { x, flows }
    }

    /// Draws what the heads, the carry and one more segment take.
    fn draw_ends(&mut self, sheet: &mut Sheet, mut wires: Vec<Wire>) -> StripEnds {
        let model = self.strip.model;
        let line = self.last_line();
        let bottom = self.lanes_bottom(line);
        let token_lane = model.token_head.state.0 + 1;
        let token_head = self.draw_exit(&mut wires, token_lane, self.token_head());
        let q_head = model.q_head.as_ref().zip(self.q_head());
        let q_head = q_head.map(|(head, x)| self.draw_exit(&mut wires, head.state.0 + 1, x));
        let end = self.width - EDGE - CARRY + 20.0;
        let carry = self.carry_tap().map(|x| Leaving { x, flows: false });
        if let Some(Leaving { x, .. }) = carry {
            self.above.line("wire", &[(x, self.lane(line, 0)), (x, bottom)]);
            for (lane, wire) in wires.iter_mut().enumerate() {
                wire.readers.push(Tap { at: (line, x), flows: false });
                self.above.dot((x, self.lane(line, lane)), "");
            }
        }
        for (lane, wire) in wires.iter_mut().enumerate().skip(1) {
            wire.readers.push(Tap { at: (line, end - 7.0), flows: false });
            let y = self.lane(line, lane);
            self.above.tip((end, y), Heading::Right, "");
            self.above.text(end + 3.0, y + 4.0, Anchor::Start, "small soft", "carry");
        }
        for (lane, wire) in wires.iter().enumerate() {
            self.draw_wire(sheet, lane, wire);
        }
        StripEnds { token_head, q_head, carry, bottom }
    }

    /// Returns the columns at whose left side the gradient is cut.
    fn cuts(&self) -> impl Iterator<Item = usize> + '_ {
        let is_cut = |&column: &usize| {
            self.strip.is_reached(column) && (column == 0 || !self.strip.is_reached(column - 1))
        };
        (0..self.strip.columns.columns.len()).filter(is_cut)
    }

    /// Lays a ground under what the gradient reaches.
    fn draw_tints(&self, sheet: &mut Sheet) {
        for (line, columns) in self.strip.lines.iter().enumerate() {
            let mut column = columns.start;
            while column < columns.end {
                let end =
                    (column..columns.end).find(|&end| !self.strip.is_reached(end)).unwrap_or(columns.end);
                if end > column {
                    let x = self.column_left(column) - GAP / 2.0;
                    let is_last = end == self.strip.columns.columns.len();
                    let right =
                        if is_last { self.carry_cut() } else { self.column_right(end - 1) + GAP / 2.0 };
                    let (y, bottom) = (self.lanes_top(line), self.lanes_bottom(line));
                    let frame = Frame { x, y, width: right - x, height: bottom - y };
                    sheet.frame(frame, "tint", "");
                }
                column = end.max(column + 1);
            }
        }
    }

    fn draw_cuts(&self, sheet: &mut Sheet) {
        for column in self.cuts() {
            let at = (self.line_of(column), self.column_left(column) - GAP / 2.0);
            self.draw_cut(sheet, at, 0);
        }
        // Nothing but one more segment takes the embedded input along.
        let first_lane = usize::from(!self.strip.has_target);
        self.draw_cut(sheet, (self.last_line(), self.carry_cut()), first_lane);
    }

    /// Draws where the gradient is cut, over all lanes from `first_lane` on but those along which it flows there.
    fn draw_cut(&self, sheet: &mut Sheet, at: Along, first_lane: usize) {
        let (line, x) = at;
        let is_before = |a: Along, b: Along| a.0 < b.0 || (a.0 == b.0 && a.1 < b.1);
        let flows = |lane: usize| {
            let crosses =
                |flow: &&FlowStretch| flow.lane == lane && is_before(flow.from, at) && is_before(at, flow.to);
            self.flows.iter().find(crosses).is_some()
        };
        for lane in (first_lane..=self.states()).filter(|&lane| !flows(lane)) {
            let y = self.lane(line, lane);
            let half = if lane == 0 { 14.0 } else { LANE / 2.0 };
            let bottom = if lane == 0 { y + INPUT_LANE - 14.0 } else { y + half };
            sheet.line("detach", &[(x, y - half), (x, bottom)]);
        }
        sheet.text(x, self.lanes_top(line) - 5.0, Anchor::Middle, "small cut", "detach");
    }

    fn draw_labels(&self, sheet: &mut Sheet, line: usize) {
        sheet.text(EDGE, self.lane(line, 0) + 4.0, Anchor::Start, "strong", "x");
        sheet.text(EDGE + 14.0, self.lane(line, 0) + 4.0, Anchor::Start, "small soft", "input");
        for state in 0..self.states() {
            let (name, size) = self.strip.lane_texts(StateId(state));
            let y = self.lane(line, state + 1);
            sheet.text(EDGE, y + 4.0, Anchor::Start, "strong", &name);
            if line == 0 {
                sheet.text(EDGE, y + 19.0, Anchor::Start, "small soft", &size);
            }
        }
    }

    fn draw_bracket(&self, sheet: &mut Sheet, bracket: &LoopBracket) {
        for (line, columns) in self.strip.lines.iter().enumerate() {
            let (start, end) =
                (columns.start.max(bracket.columns.start), columns.end.min(bracket.columns.end));
            if start >= end {
                continue;
            }
            let (left, right) = (self.column_left(start) - 6.0, self.column_right(end - 1) + 6.0);
            let top = self.line_top(line) + bracket.depth as f64 * BRACKET;
            let (y, foot) = (top + 18.0, top + 23.0);
            let mut places = vec![(left, y), (right, y)];
            if start == bracket.columns.start {
                places.insert(0, (left, foot));
            }
            if end == bracket.columns.end {
                places.push((right, foot));
            }
            sheet.line("loop", &places);
            let which = iterations(bracket);
            let label = bracket.label.as_deref().unwrap_or("repeat");
            let room = right - left - text_width(&which, SMALL_FONT);
            let label = shortened(label, SMALL_FONT, room);
            sheet.text(
                (left + right) / 2.0,
                top + 13.0,
                Anchor::Middle,
                "small soft",
                &format!("{label}{which}"),
            );
        }
    }

    fn draw_column(&self, sheet: &mut Sheet, index: usize, column: &StripColumn) {
        let frame = self.frame(index);
        let texts = self.strip.column_texts(column);
        let title = self.title(column);
        match column {
            StripColumn::Update(update) => {
                let network = self.strip.gradients.updates[*update].update.network.0;
                let learns = if self.strip.is_reached(index) { " learns" } else { "" };
                sheet.frame(frame, &format!("box{learns} {}", colour(network)), &title);
            }
            StripColumn::LeftOut { .. } => sheet.frame(frame, "ground again", &title),
        }
        let mut baseline = frame.y + frame.height / 2.0 - 7.0 * (texts.len() as f64 - 1.0) + 4.0;
        for (text, font) in texts {
            let class = if font == FONT { "" } else { "small" };
            sheet.text(frame.middle(), baseline, Anchor::Middle, class, &text);
            baseline += 14.0;
        }
    }

    fn title(&self, column: &StripColumn) -> String {
        let strip = self.strip;
        let all = strip.gradients.updates.len();
        match column {
            StripColumn::Update(index) => {
                let update = formula(strip.model, strip.gradients.updates[*index].update);
                let forward = strip.cost.work(Phase::Forward, Purpose::Update(*index));
                let backward = strip.cost.work(Phase::Backward, Purpose::Update(*index));
                let mut title = format!("update {} of {all}: {update}", index + 1);
                for (phase, work) in [("forward", forward), ("backward", backward)] {
                    if work.calls > 0 {
                        title.push_str(&format!(
                            "; {phase} {}, {} moved",
                            flops(work.flops),
                            bytes(work.bytes)
                        ));
                    }
                }
                title
            }
            StripColumn::LeftOut { updates, .. } => {
                format!(
                    "updates {} to {} of {all}, which repeat those before",
                    updates.start + 1,
                    updates.end
                )
            }
        }
    }
}

/// Returns the lane of what an update reads.
fn lane_of(operand: &Operand) -> usize {
    match operand {
        Operand::Input => 0,
        Operand::State(state) => state.0 + 1,
    }
}

/// Returns which iterations of its loop a bracket has; empty for all of them.
fn iterations(bracket: &LoopBracket) -> String {
    let (first, last, count) = (bracket.iterations.start + 1, bracket.iterations.end, bracket.count);
    match (first == last, count) {
        (_, 1) => String::new(),
        (true, _) => format!(" {first} of {count}"),
        (false, _) => format!(" {first}–{last} of {count}"),
    }
}

/// Returns the further class of a line along which the gradient flows.
pub(super) fn class_of(flows: bool) -> &'static str {
    if flows { " flow" } else { "" }
}
