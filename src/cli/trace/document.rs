//! What a trace shows, as data: the document that `--trace -o FILE.json` writes and that the page embeds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::cli::picture;
use crate::data::mistakes::{Mistake, mistakes};
use crate::data::puzzle::{expected_answer, token_name};
use crate::data::{IGNORED_LABEL, PuzzleKind};
use crate::ir::{Mixing, Model, Step, unroll};
use crate::measures::{Covariance, mean_over_positions};
use crate::train::{AskedRow, AttentionMap, MOST_ATTENTION_POSITIONS, RolloutTrace, StateUpdate, StoppedBy};

/// Version of the form, which grows when a reader would have to change.
const VERSION: u32 = 1;

/// Bytes of text that the attention of all puzzles of a document may take, as far as whole rows of weights go.
const ATTENTION_BYTES: usize = 1_000_000;
/// The same where only the largest weights are kept.
const LARGEST_ATTENTION_BYTES: usize = 4_000_000;
/// Weights that are kept of each position where not all are.
const LARGEST_WEIGHTS: usize = 8;
/// Bytes of text that the probabilities of rollouts that are not the best may take.
const PROBABILITY_BYTES: usize = 400_000;

/// The trace of a model on some puzzles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceDocument {
    format: &'static str,
    version: u32,
    /// Name of the model.
    pub model: String,
    /// Folder of the run.
    pub run: String,
    /// The checkpoint, by its file.
    pub checkpoint: String,
    /// Names of the states.
    pub states: Vec<String>,
    /// The state that the tokens are predicted from, an index of `states`.
    pub answer_state: usize,
    /// Positions of the puzzle vector before the tokens, `P`.
    pub prefix: usize,
    /// Whether a network of the model has attention.
    pub has_attention: bool,
    /// The updates of one segment, in order.
    pub updates: Vec<UpdateLine>,
    /// How each token is written, `[V]`.
    pub tokens: Vec<String>,
    /// The puzzles.
    pub puzzles: Vec<TracedPuzzle>,
    /// What was left out, in sentences.
    pub left_out: Vec<String>,
}

/// An update of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpdateLine {
    /// The state, an index of the states.
    pub state: usize,
    /// Name of the network.
    pub network: String,
    /// Labels of the loops around it, outermost first; `None` for a loop without a label.
    pub loops: Vec<Option<String>>,
    /// Iteration of each of the loops, counted from 1.
    pub iterations: Vec<usize>,
}

/// The trace of one puzzle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedPuzzle {
    /// Row of the dataset, from 0; `None` for a puzzle that was typed.
    pub row: Option<usize>,
    #[serde(skip)]
    kind: PuzzleKind,
    #[serde(rename = "kind")]
    family: &'static str,
    rows: usize,
    columns: usize,
    /// Rows and columns of a box of a Sudoku.
    #[serde(rename = "box")]
    box_shape: Option<[usize; 2]>,
    /// The question, `[S]`.
    pub input: Vec<i32>,
    /// The expected answer, `[S]`, with -100 where nothing is expected.
    pub label: Option<Vec<i32>>,
    /// What is to be said about the answer.
    pub verdict: &'static str,
    /// The rollout with the answer, an index of `rollouts`.
    pub best: usize,
    /// The attempts.
    pub rollouts: Vec<TracedRollout>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedRollout {
    /// Segments that it took.
    pub segments: usize,
    /// Why it stopped.
    pub stopped_by: StoppedBy,
    /// One frame for each update of each segment.
    pub frames: Vec<TraceFrame>,
    /// Probability of each token after each update, `[frames, S, V]`, as bytes of which 255 is 1.
    #[serde(serialize_with = "as_base64")]
    pub probabilities: Option<Vec<u8>>,
    /// Where the states are on their first principal components.
    pub projection: Vec<Projection>,
    /// Some of the attention.
    pub attention: Vec<DrawnAttention>,
}

/// What there is after one update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceFrame {
    /// Segment, from 1.
    pub segment: usize,
    /// The update, an index of the updates of a segment.
    pub update: usize,
    /// Tokens that the model would answer, `[S]`.
    pub answer: Vec<i32>,
    /// Probability of each of them, `[S]`.
    pub confidence: Vec<f64>,
    /// Cells that differ from the frame before; in the first frame, from the question.
    pub changed: Vec<usize>,
    /// Cells that break the rules.
    pub against_rules: Vec<usize>,
    /// Q value of halting, before the sigmoid.
    pub q_halt: Option<f32>,
    /// Relative distance by which the state moved, `|after - before| / |before|`.
    pub moved: f64,
    /// Distance by which the state moved, `rms(after - before)`.
    pub residual: f64,
    /// After the last update of a segment: how far the state that the tokens are predicted from has moved in it.
    pub drift: Option<f64>,
}

/// The trajectory of a state, as the mean over its positions, on its first two principal components.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Projection {
    /// The state, an index of the states.
    pub state: usize,
    /// Share of the variance of each component.
    pub shares: Vec<f64>,
    /// One point for each update of the state.
    pub points: Vec<[f64; 2]>,
}

/// What positions attend to in one layer, in one update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrawnAttention {
    /// The update, an index of the frames.
    pub frame: usize,
    /// Layer of the network, from 0.
    pub layer: usize,
    /// Heads, `A`.
    pub heads: usize,
    /// How many weights of each position are kept, the largest ones; `None` for all.
    pub top: Option<usize>,
    /// With `top`, the positions that the weights belong to, u16 `[A, P + S, top]`, little-endian.
    #[serde(serialize_with = "as_base64")]
    pub keys: Option<Vec<u8>>,
    /// Weights, as bytes of which 255 is 1, `[A, P + S, P + S]` or `[A, P + S, top]`.
    #[serde(serialize_with = "as_base64")]
    pub weights: Option<Vec<u8>>,
}

fn as_base64<S: serde::Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
}

/// Returns a number with four digits that count, which is short in JSON.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Returns a share as a byte, 255 for 1.
fn byte(share: f32) -> u8 {
    (share * 255.0).round() as u8
}

impl TraceDocument {
    /// Returns a document without puzzles.
    pub fn new(run: String, checkpoint: String, kind: PuzzleKind, model: &Model) -> TraceDocument {
        let updates = unroll(model);
        let loops = loops_around(&model.segment);
        // The updates of the nest come again with every iteration, in the same order.
        let line = |unrolled: &crate::ir::UnrolledUpdate<'_>| UpdateLine {
            state: unrolled.update.state.0,
            network: model.networks[unrolled.update.network.0].name.clone(),
            loops: loops
                .iter()
                .find(|(update, _)| std::ptr::eq(*update, unrolled.update))
                .map_or_else(Vec::new, |(_, labels)| labels.clone()),
            iterations: unrolled.iterations.iter().map(|iteration| iteration + 1).collect(),
        };
        TraceDocument {
            format: "hrmc-trace",
            version: VERSION,
            model: model.name.clone(),
            run,
            checkpoint,
            states: model.states.iter().map(|state| state.name.clone()).collect(),
            answer_state: model.token_head.state.0,
            prefix: model.prefix_positions(),
            has_attention: model
                .networks
                .iter()
                .any(|network| matches!(network.block.mixing, Mixing::Attention { .. })),
            updates: updates.iter().map(line).collect(),
            tokens: (0..model.tokens.vocab).map(|token| token_name(kind, token as i32)).collect(),
            puzzles: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds the trace of a row. `row` is its number in a dataset, and `of` how many rows the document will have.
    pub fn add(
        &mut self,
        found: &[RolloutTrace],
        kind: PuzzleKind,
        asked: &AskedRow,
        row: Option<usize>,
        of: usize,
    ) {
        let (rows, columns) = kind.shape();
        let labels = asked.labels.iter().any(|&label| label != IGNORED_LABEL).then(|| asked.labels.clone());
        let best =
            found.iter().position(|rollout| rollout.is_best).expect("the first rollout is the best at first");
        let answer = found[best].updates.last().expect("a segment has updates").tokens.clone();
        let box_shape = match kind {
            PuzzleKind::Sudoku(size) => Some([size.box_rows(), size.box_columns()]),
            _ => None,
        };
        let mut rollouts: Vec<TracedRollout> =
            found.iter().map(|rollout| self.rollout(rollout, kind, &asked.tokens)).collect();
        rollouts[best].projection = self.projection(&found[best].updates);
        self.keep_attention(&mut rollouts[best], &found[best].attention, of);
        self.keep_probabilities(&mut rollouts, found, best, of);
        self.puzzles.push(TracedPuzzle {
            row,
            kind,
            family: kind.family(),
            rows,
            columns,
            box_shape,
            input: asked.tokens.clone(),
            verdict: picture::verdict(kind, &asked.tokens, &answer, labels.as_deref()),
            label: labels.or_else(|| expected_answer(kind, &asked.tokens)),
            best,
            rollouts,
        });
    }

    /// Returns a rollout without what takes much room.
    fn rollout(&self, rollout: &RolloutTrace, kind: PuzzleKind, question: &[i32]) -> TracedRollout {
        let vocab = self.tokens.len();
        let mut before = question;
        let mut frames = Vec::new();
        for (at, update) in rollout.updates.iter().enumerate() {
            let place = at % self.updates.len();
            let shares = update.probabilities.chunks_exact(vocab).zip(&update.tokens);
            let confidence = shares.map(|(shares, &token)| f64::from(shares[token as usize]));
            let wrong = mistakes(kind, question, &update.tokens, None);
            let is_last = place + 1 == self.updates.len();
            frames.push(TraceFrame {
                segment: update.segment,
                update: place,
                confidence: confidence.map(|share| (share * 1e3).round() / 1e3).collect(),
                changed: (0..before.len()).filter(|&cell| before[cell] != update.tokens[cell]).collect(),
                against_rules: (0..wrong.len())
                    .filter(|&cell| wrong[cell] == Some(Mistake::BreaksRules))
                    .collect(),
                answer: update.tokens.clone(),
                q_halt: update.q_halt,
                moved: short(update.moved),
                residual: short(update.residual),
                drift: is_last.then(|| short(f64::from(rollout.drifts[update.segment - 1]))),
            });
            before = &update.tokens;
        }
        TracedRollout {
            segments: rollout.drifts.len(),
            stopped_by: rollout.stopped_by,
            frames,
            probabilities: None,
            projection: Vec::new(),
            attention: Vec::new(),
        }
    }

    fn projection(&self, updates: &[StateUpdate]) -> Vec<Projection> {
        let width = updates[0].width;
        let of_state = |(state, name): (usize, &String)| {
            let own = updates.iter().filter(|update| update.state == *name);
            let points: Vec<Vec<f64>> =
                own.map(|update| mean_over_positions(&update.values, width)).collect();
            let mut covariance = Covariance::new(width);
            points.iter().for_each(|point| covariance.add(point));
            let (mean, components) = (covariance.mean(), covariance.components(2));
            let along = |point: &[f64], component: usize| {
                components.get(component).map_or(0.0, |component| short(component.place(point, &mean)))
            };
            Projection {
                state,
                shares: (0..2).map(|at| components.get(at).map_or(0.0, |found| short(found.share))).collect(),
                points: points.iter().map(|point| [along(point, 0), along(point, 1)]).collect(),
            }
        };
        self.states.iter().enumerate().map(of_state).collect()
    }

    /// Keeps as much of the attention as there is room for: of the first and the last segment, of the last one, or only the
    /// largest weights of that.
    fn keep_attention(&mut self, rollout: &mut TracedRollout, maps: &[AttentionMap], of: usize) {
        let positions = self.prefix + rollout.frames[0].answer.len();
        if positions > MOST_ATTENTION_POSITIONS {
            self.leave_out(format!(
                "attention, for there are more than {MOST_ATTENTION_POSITIONS} positions"
            ));
        }
        let first_of_last = rollout.frames.len() - self.updates.len();
        let last: Vec<&AttentionMap> = maps.iter().filter(|map| map.update >= first_of_last).collect();
        let text_bytes = |values: usize| values.div_ceil(3) * 4;
        let whole =
            |maps: &[&AttentionMap]| maps.iter().map(|map| text_bytes(map.weights.len())).sum::<usize>();
        let all: Vec<&AttentionMap> = maps.iter().collect();
        let (kept, top) = if whole(&all) * of <= ATTENTION_BYTES {
            (all, None)
        } else if whole(&last) * of <= ATTENTION_BYTES {
            (last, None)
        } else {
            // Two bytes for the position, one for the weight.
            let rows: usize = last.iter().map(|map| map.heads * positions).sum();
            let fits = |&top: &usize| text_bytes(3 * rows * top) * of <= LARGEST_ATTENTION_BYTES;
            let top = (1..=LARGEST_WEIGHTS.min(positions)).rev().find(fits);
            if top.is_some() { (last, top) } else { (Vec::new(), None) }
        };
        self.leave_out(match (kept.is_empty(), top) {
            _ if maps.is_empty() => return,
            (true, _) => "attention".to_string(),
            (false, None) if kept.len() == maps.len() => {
                "attention outside of the first and the last segment, and of all but the last update of each state"
                    .to_string()
            }
            (false, None) => {
                "attention outside of the last segment, and of all but the last update of each state".to_string()
            }
            (false, Some(top)) => format!(
                "attention outside of the last segment, of all but the last update of each state, and all but the {top} \
                 largest weights of each position"
            ),
        });
        rollout.attention = kept.into_iter().map(|map| DrawnAttention::new(map, positions, top)).collect();
    }

    fn keep_probabilities(
        &mut self,
        rollouts: &mut [TracedRollout],
        found: &[RolloutTrace],
        best: usize,
        of: usize,
    ) {
        let mut left = PROBABILITY_BYTES / of;
        let mut left_out = 0;
        for (at, (rollout, found)) in rollouts.iter_mut().zip(found).enumerate() {
            let bytes =
                found.updates.iter().map(|update| update.probabilities.len()).sum::<usize>().div_ceil(3) * 4;
            if at != best && bytes > left {
                left_out += 1;
                continue;
            }
            if at != best {
                left -= bytes;
            }
            let shares = found.updates.iter().flat_map(|update| &update.probabilities);
            rollout.probabilities = Some(shares.map(|&share| byte(share)).collect());
        }
        if rollouts.len() > 1 {
            self.leave_out("attention and principal components of all rollouts but the best".to_string());
        }
        if left_out > 0 {
            self.leave_out("probabilities of some rollouts that are not the best".to_string());
        }
    }

    fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// Returns the document in JSON, in one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has no maps, and its numbers are finite")
    }
}

impl TracedPuzzle {
    /// Returns what the puzzle is.
    pub fn kind(&self) -> PuzzleKind {
        self.kind
    }

    /// Returns how many frames its longest rollout has.
    pub fn frames(&self) -> usize {
        self.rollouts.iter().map(|rollout| rollout.frames.len()).max().unwrap_or(0)
    }
}

impl DrawnAttention {
    fn new(map: &AttentionMap, positions: usize, top: Option<usize>) -> DrawnAttention {
        let (mut keys, mut weights) = (Vec::new(), Vec::new());
        for row in map.weights.chunks_exact(positions) {
            let Some(top) = top else {
                weights.extend(row.iter().map(|&weight| byte(weight)));
                continue;
            };
            let mut order: Vec<u16> = (0..positions as u16).collect();
            order.sort_by(|&a, &b| row[usize::from(b)].total_cmp(&row[usize::from(a)]));
            for &key in &order[..top] {
                keys.extend(key.to_le_bytes());
                weights.push(byte(row[usize::from(key)]));
            }
        }
        let keys = top.map(|_| keys);
        DrawnAttention {
            frame: map.update,
            layer: map.layer,
            heads: map.heads,
            top,
            keys,
            weights: Some(weights),
        }
    }
}

/// Returns every update of a loop nest with the labels of the loops around it, outermost first.
fn loops_around(steps: &[Step]) -> Vec<(&crate::ir::Update, Vec<Option<String>>)> {
    let mut found = Vec::new();
    for step in steps {
        match step {
            Step::Update(update) => found.push((update, Vec::new())),
            Step::Repeat(repeat) => found.extend(
                loops_around(&repeat.body)
                    .into_iter()
                    .map(|(update, inner)| (update, [vec![repeat.label.clone()], inner].concat())),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::testing::{document, rollout};
    use crate::cli::trace_page::trace_page;
    use crate::data::SudokuSize;

    #[test]
    fn frames_say_what_changed_from_one_to_the_next() {
        let document = document();
        let frames = &document.puzzles[0].rollouts[0].frames;
        assert_eq!(frames.len(), 6);
        let changed: Vec<&[usize]> = frames.iter().map(|frame| frame.changed.as_slice()).collect();
        // TraceFrame `i` answers with the token `i % 5` in cell `i % 4`, and with the question elsewhere.
        assert_eq!(changed[..3], [[0usize].as_slice(), &[0, 1], &[1, 2]]);
        assert_eq!(frames[1].confidence, [0.2; 4]);
        assert_eq!(
            frames.iter().map(|frame| frame.drift.is_some()).collect::<Vec<_>>(),
            [false, true, false, true, false, true]
        );
    }

    #[test]
    fn updates_know_the_loops_around_them() {
        use crate::ir::Operand;
        use crate::ir::testing::{example, repeat, update};

        let body =
            vec![repeat(None, 2, vec![update(0, 0, &[Operand::Input])]), update(1, 1, &[Operand::Input])];
        let model = Model { segment: vec![repeat(Some("cycle"), 1, body)], ..example() };
        let kind = PuzzleKind::Tokens { length: 4, vocab: 3 };
        let document = TraceDocument::new(String::new(), String::new(), kind, &model);
        let (cycle, none) = (Some("cycle".to_string()), None);
        let found: Vec<_> =
            document.updates.iter().map(|update| (update.loops.clone(), update.iterations.clone())).collect();
        assert_eq!(
            found,
            [
                (vec![cycle.clone(), none.clone()], vec![1, 1]),
                (vec![cycle.clone(), none], vec![1, 2]),
                (vec![cycle], vec![1]),
            ]
        );
    }

    /// Returns a trace with attention over so many positions, in the first and the last segment.
    fn with_attention(positions: usize, of: usize) -> TraceDocument {
        let kind = PuzzleKind::Tokens { length: positions, vocab: 5 };
        let mut document = TraceDocument { puzzles: Vec::new(), ..document() };
        let mut found = rollout(positions, 3);
        let row = |query: usize| {
            (0..positions).map(move |key| ((query + key) % positions) as f32 / positions as f32)
        };
        let weights: Vec<f32> = (0..8 * positions).flat_map(|at| row(at % positions)).collect();
        let map = |update| AttentionMap { update, layer: 0, heads: 8, weights: weights.clone() };
        found.attention = vec![map(1), map(5)];
        let asked = AskedRow::unlabelled(0, vec![0; positions]);
        document.add(&[found], kind, &asked, None, of);
        document
    }

    #[test]
    fn attention_is_kept_as_far_as_there_is_room_and_the_rest_is_said() {
        let kept = |positions, of| {
            let document = with_attention(positions, of);
            let attention = &document.puzzles[0].rollouts[0].attention;
            let frames: Vec<usize> = attention.iter().map(|attention| attention.frame).collect();
            (frames, attention.first().map(|first| first.top), document.left_out.join(" "))
        };
        // Two maps of 8 x 100 x 100 bytes in base64 are 0.2 MB, of 8 x 250 x 250 are 1.3 MB.
        let (frames, top, left_out) = kept(100, 1);
        assert_eq!((frames, top), (vec![1, 5], Some(None)));
        assert!(left_out.starts_with("attention outside of the first and the last segment"), "{left_out}");
        let (frames, top, left_out) = kept(250, 1);
        assert_eq!((frames, top), (vec![5], Some(None)));
        assert!(left_out.starts_with("attention outside of the last segment, and"), "{left_out}");
        let (frames, top, left_out) = kept(900, 1);
        assert_eq!((frames, top), (vec![5], Some(Some(8))));
        assert!(left_out.contains("all but the 8 largest weights"), "{left_out}");
        let (frames, top, left_out) = kept(900, 64);
        assert_eq!((frames, top, left_out.as_str()), (vec![5], Some(Some(2)), left_out.as_str()));
        let (frames, _, left_out) = kept(900, 500);
        assert_eq!((frames, left_out.as_str()), (vec![], "attention"));
    }

    /// Returns the bytes of a page of 96 updates, as many as 16 segments of six, in each of which everything changes and
    /// nothing is right. Two updates have attention in eight heads.
    fn page_bytes(kind: PuzzleKind) -> usize {
        let (cells, vocab) = (kind.seq_len(), kind.vocab_size());
        let mut model = crate::ir::testing::example();
        model.tokens.vocab = vocab;
        let mut document = TraceDocument::new("runs/large".to_string(), "best".to_string(), kind, &model);
        let mut found = rollout(cells, 48);
        for (at, update) in found.updates.iter_mut().enumerate() {
            update.tokens = (0..cells).map(|cell| ((at + cell) % vocab) as i32).collect();
            update.probabilities = vec![0.123; cells * vocab];
        }
        let map = |update| AttentionMap { update, layer: 0, heads: 8, weights: vec![0.1; 8 * cells * cells] };
        found.attention = vec![map(94), map(95)];
        let question = AskedRow { labels: vec![2; cells], ..AskedRow::unlabelled(0, vec![1; cells]) };
        document.add(&[found], kind, &question, None, 1);
        trace_page(&document.to_json()).len()
    }

    #[test]
    fn pages_are_small_enough_to_send() {
        let sudoku = page_bytes(PuzzleKind::Sudoku(SudokuSize::Nine));
        assert!(sudoku <= 2_000_000, "{sudoku}");
        let maze = page_bytes(PuzzleKind::Maze { side: 30 });
        assert!(maze <= 10_000_000, "{maze}");
        let arc = page_bytes(PuzzleKind::Arc);
        assert!(arc <= 10_000_000, "{arc}");
        eprintln!("pages have {sudoku}, {maze} and {arc} bytes");
    }

    #[test]
    fn the_largest_weights_come_first_with_their_positions() {
        let map = AttentionMap {
            update: 0,
            layer: 0,
            heads: 1,
            weights: vec![0.1, 0.7, 0.2, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0],
        };
        let drawn = DrawnAttention::new(&map, 3, Some(2));
        assert_eq!(drawn.keys, Some(vec![1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0]));
        assert_eq!(drawn.weights, Some(vec![179, 51, 128, 128, 255, 0]));
        let whole = DrawnAttention::new(&map, 3, None);
        assert_eq!((whole.keys, whole.weights.map(|weights| weights.len())), (None, Some(9)));
    }

    #[test]
    fn the_document_is_what_its_readers_expect() {
        let mut document = document();
        // Principal components differ in their last digits from machine to machine.
        document.puzzles[0].rollouts[0].projection.clear();
        let value: serde_json::Value = serde_json::from_str(&document.to_json()).expect("it is JSON");
        insta::assert_snapshot!(format!("{value:#}"));
    }
}
