//! The statements `tokens`, `puzzles`, `block` and `network`, which all have a width.

use super::keys::RESERVED;
use super::names::{Named, suggest, wrong_name};
use super::outline::{Outline, parts};
use super::reader::{Fields, MAX_ROWS, MAX_UNIT_WIDTH, MAX_WIDTH, Reals, to_usize};
use super::{Context, keep_one};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir;
use crate::ir::gated_width;
use crate::span::Span;
use crate::syntax::ast::{Definition, Expr, ExprKind, Operator, Section};

/// Most blocks in a network; far beyond what trains, and far below what exhausts memory by a slip.
const MAX_LAYERS: i128 = 1_000;
/// Largest factor between the width of a gated unit and that of its input.
const MAX_EXPANSION: f32 = 1_024.0;

/// A number and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The sizes of a model.
#[derive(Debug)]
pub(super) struct ModelSizes {
    pub(super) hidden: usize,
    pub(super) tokens: ir::Tokens,
    pub(super) puzzles: Option<ir::Puzzles>,
    pub(super) networks: Vec<ir::Network>,
}

/// A block whose mixer width may still depend on the number of positions.
#[derive(Debug)]
struct BlockDraft {
    name: String,
    hidden: Option<Placed<usize>>,
    placement: Option<Placed<Placement>>,
    /// Makes it learn positions.
    learn: Edit,
    mixing: Option<MixingDraft>,
    inner: Option<Width>,
    norm_eps: Option<f32>,
    used: bool,
}

#[derive(Debug, Clone, Copy)]
enum MixingDraft {
    Attention { heads: usize },
    Mlp(Width),
}

/// How a block learns where a token stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Placement {
    Rope { theta: f32 },
    Learned,
    None,
}

/// Width of a gated unit.
#[derive(Debug, Clone, Copy)]
enum Width {
    Exact(usize),
    Expansion { expansion: f32, multiple_of: usize },
}

impl Width {
    fn resolve(self, input: usize) -> usize {
        match self {
            Width::Exact(width) => width,
            // The spelled number is meant, not its nearest f32, so `0.1` is a tenth here.
            Width::Expansion { expansion, multiple_of } => {
                gated_width(shortest_f64(expansion), input, multiple_of).max(multiple_of)
            }
        }
    }
}

/// Returns the f64 whose shortest spelling is that of the f32.
fn shortest_f64(value: f32) -> f64 {
    value.to_string().parse().expect("a printed number can be read")
}

impl<'a> Context<'a> {
    /// Checks everything that has a width.
    pub(super) fn sizes(&mut self, outline: &Outline<'a>) -> Option<ModelSizes> {
        let tokens = self.tokens(outline);
        let mut blocks: Vec<BlockDraft> = outline.blocks.iter().map(|block| self.block(block)).collect();
        let hidden = self.common_width(&blocks);
        let learned = self.common_placement(&blocks);
        let puzzles = self.puzzles(outline, hidden);
        let positions = match (&tokens, &puzzles) {
            (Some((_, positions)), Some(puzzles)) => {
                Some(positions + puzzles.as_ref().map_or(0, |puzzles: &ir::Puzzles| puzzles.positions))
            }
            _ => None,
        };
        let drafts: Vec<Option<NetworkDraft>> =
            outline.networks.iter().map(|network| self.network(network, outline, &mut blocks)).collect();
        if outline.networks.is_empty() {
            let block = outline.block();
            self.missing_statement(outline, "network", &format!("network net = 2 * {block}"));
        }
        for (section, block) in outline.blocks.iter().zip(&blocks) {
            if !block.used && self.complete {
                self.report(unused_block(section, self.statement(section.name.span)));
            }
        }
        let (vocab, token_positions) = tokens?;
        let hidden = hidden?.value;
        let networks = drafts
            .into_iter()
            .zip(&outline.networks)
            .map(|(draft, network)| {
                let draft = draft?;
                let block = blocks[draft.block].resolve(hidden, positions?)?;
                let name = network.name.text.clone();
                Some(ir::Network { stored_as: String::new(), name, layers: draft.layers, block })
            })
            .collect::<Option<Vec<_>>>()?;
        let tokens = ir::Tokens { vocab, positions: token_positions, learned_positions: learned? };
        Some(ModelSizes { hidden, tokens, puzzles: puzzles?, networks })
    }

    fn tokens(&mut self, outline: &Outline<'a>) -> Option<(usize, usize)> {
        let Some(section) = outline.tokens else {
            self.missing_statement(outline, "tokens", "tokens { vocab = 11, positions = 81 }");
            return None;
        };
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::TOKENS, owner, entries);
        let vocab = self.integer(&fields, "vocab", 2..=MAX_ROWS);
        let positions = self.integer(&fields, "positions", 1..=MAX_WIDTH);
        Some((vocab?, positions?))
    }

    /// Returns `Some(None)` for a model without puzzle vectors and `None` if there is an error.
    fn puzzles(
        &mut self,
        outline: &Outline<'a>,
        hidden: Option<Placed<usize>>,
    ) -> Option<Option<ir::Puzzles>> {
        let Some(section) = outline.puzzles else { return Some(None) };
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::PUZZLES, owner, entries);
        let width = self.integer(&fields, "width", 1..=MAX_ROWS);
        let positions = match fields.get("positions") {
            Some(_) => self.integer(&fields, "positions", 1..=MAX_WIDTH).map(Some),
            None => Some(None),
        };
        let (width, positions, hidden) = (width?, positions?, hidden?);
        let positions = positions.unwrap_or(width.div_ceil(hidden.value));
        if width > positions * hidden.value {
            self.report(puzzle_too_wide(&fields, width, positions, hidden));
            return None;
        }
        Some(Some(ir::Puzzles { width, positions }))
    }

    fn block(&mut self, section: &'a Section) -> BlockDraft {
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::BLOCK, owner, entries);
        let hidden = self.integer(&fields, "hidden", 1..=MAX_WIDTH);
        let hidden = hidden.map(|value| Placed { value, span: fields.span("hidden") });
        let mixing = self.choice(&fields, "mixing", "attention");
        let is_mlp = matches!(mixing, Some(("mlp", _)));
        let default = if is_mlp { "none" } else { "rope" };
        let placement = self.placement(&fields, default);
        let mixing = match mixing {
            Some(("mlp", settings)) => {
                self.not_with_mixer(&fields, placement);
                self.width(&settings).map(MixingDraft::Mlp)
            }
            Some(_) => {
                let heads = self.integer(&fields, "heads", 1..=MAX_WIDTH);
                if let (Some(heads), Some(hidden)) = (heads, hidden) {
                    self.head_width(&fields, heads, hidden, placement);
                }
                heads.map(|heads| MixingDraft::Attention { heads })
            }
            None => None,
        };
        let inner = match self.choice(&fields, "mlp", "swiglu") {
            Some((_, settings)) => self.width(&settings),
            None => None,
        };
        let norm_eps = match self.choice(&fields, "norm", "post_rms") {
            Some((_, settings)) => self.real_or(&settings, "eps", Reals::Positive, 1e-5),
            None => None,
        };
        BlockDraft {
            name: section.name.text.clone(),
            hidden,
            placement,
            learn: fields.set("positions", "learned"),
            mixing,
            inner,
            norm_eps,
            used: false,
        }
    }

    fn placement(&mut self, fields: &Fields<'a>, default: &'static str) -> Option<Placed<Placement>> {
        let (word, settings) = self.choice(fields, "positions", default)?;
        let value = match word {
            "rope" => Placement::Rope { theta: self.real_or(&settings, "theta", Reals::Positive, 10_000.0)? },
            "learned" => Placement::Learned,
            _ => Placement::None,
        };
        Some(Placed { value, span: fields.span("positions") })
    }

    /// Reports settings of attention in a block that mixes with a gated unit.
    fn not_with_mixer(&mut self, fields: &Fields<'a>, placement: Option<Placed<Placement>>) {
        let mixing = fields.span("mixing");
        if let Some(span) = fields.entry_span("heads") {
            self.report(mixer_without("heads", span, mixing));
        }
        if let (Some(Placed { value: Placement::Rope { .. }, .. }), Some(span)) =
            (placement, fields.entry_span("positions"))
        {
            self.report(mixer_without("rotation", span, mixing));
        }
    }

    fn head_width(
        &mut self,
        fields: &Fields<'a>,
        heads: usize,
        hidden: Placed<usize>,
        placement: Option<Placed<Placement>>,
    ) {
        let span = fields.span("heads");
        if !hidden.value.is_multiple_of(heads) {
            let rotated = matches!(placement, Some(Placed { value: Placement::Rope { .. }, .. }));
            self.report(heads_do_not_divide(span, heads, hidden, if rotated { 2 } else { 1 }));
            return;
        }
        let width = hidden.value / heads;
        if let Some(Placed { value: Placement::Rope { .. }, span: rope }) = placement
            && !width.is_multiple_of(2)
        {
            let rope = fields.entry_span("positions").map(|_| rope);
            self.report(odd_heads(span, heads, hidden, rope));
        }
    }

    fn width(&mut self, settings: &Fields<'a>) -> Option<Width> {
        if let Some(width) = settings.entry_span("width") {
            for other in ["expansion", "multiple_of"] {
                if let Some(span) = settings.entry_span(other) {
                    self.report(width_twice(other, span, width));
                }
            }
            return self.integer(settings, "width", 1..=MAX_UNIT_WIDTH).map(Width::Exact);
        }
        let expansion = self.real_or(settings, "expansion", Reals::Positive, 4.0);
        let multiple_of = self.integer_or(settings, "multiple_of", 1..=MAX_ROWS, 256);
        if let Some(expansion) = expansion.filter(|&expansion| expansion > MAX_EXPANSION) {
            self.report(too_wide(settings.span("expansion"), expansion));
            return None;
        }
        Some(Width::Expansion { expansion: expansion?, multiple_of: multiple_of? })
    }

    /// Returns the width all blocks share.
    fn common_width(&mut self, blocks: &[BlockDraft]) -> Option<Placed<usize>> {
        let mut common: Option<(Placed<usize>, &str)> = None;
        for block in blocks {
            let Some(hidden) = block.hidden else { continue };
            match common {
                None => common = Some((hidden, &block.name)),
                Some((first, name)) if first.value != hidden.value => {
                    self.report(widths_differ(&block.name, hidden, name, first));
                }
                Some(_) => {}
            }
        }
        common.map(|(hidden, _)| hidden)
    }

    /// Returns whether positions are learned, which all blocks must agree on.
    fn common_placement(&mut self, blocks: &[BlockDraft]) -> Option<bool> {
        let mut common: Option<(Placed<Placement>, &BlockDraft)> = None;
        for block in blocks {
            let Some(placement) = block.placement else { continue };
            match common {
                None => common = Some((placement, block)),
                Some((first, first_block)) => {
                    let learns = placement.value == Placement::Learned;
                    if (first.value == Placement::Learned) != learns {
                        let other = if learns { first_block } else { block };
                        let report =
                            placements_differ(&block.name, placement.span, &first_block.name, first.span);
                        let title = format!("write `positions = learned` in `{}`", other.name);
                        self.report(report.offer(title, [other.learn.clone()]));
                    }
                }
            }
        }
        common.map(|(placement, _)| placement.value == Placement::Learned)
    }

    fn network(
        &mut self,
        network: &'a Definition,
        outline: &Outline<'a>,
        blocks: &mut [BlockDraft],
    ) -> Option<NetworkDraft> {
        let (count, block) = stack(&network.value);
        let layers = match count {
            Some(count) => self.integer_value(count, "number of blocks", 1..=MAX_LAYERS).map(to_usize),
            None => Some(1),
        };
        let Some((block, name)) = block.and_then(|block| match &block.kind {
            ExprKind::Name(name) => Some((block, name)),
            _ => None,
        }) else {
            self.report(no_stack(block.unwrap_or(&network.value), network.value.span, outline));
            // Whatever was meant, it may have been any of them.
            blocks.iter_mut().for_each(|block| block.used = true);
            return None;
        };
        let index = self.block_named(name, block.span, outline)?;
        blocks[index].used = true;
        Some(NetworkDraft { block: index, layers: layers? })
    }

    /// Returns the index of the block with this name, or reports that there is none.
    pub(super) fn block_named(&mut self, name: &str, span: Span, outline: &Outline<'a>) -> Option<usize> {
        self.seen.insert(span);
        let index = outline.blocks.iter().position(|block| block.name.text == name);
        if index.is_none() && self.complete {
            let named = self.names.get(name).copied();
            self.report(unknown_block(name, span, named, outline));
        }
        index
    }
}

/// A network whose block is not resolved yet.
#[derive(Debug)]
struct NetworkDraft {
    block: usize,
    layers: usize,
}

/// Splits `count * block` into its parts.
fn stack(value: &Expr) -> (Option<&Expr>, Option<&Expr>) {
    let value = value.ungrouped();
    match &value.kind {
        ExprKind::Name(_) => (None, Some(value)),
        ExprKind::Binary(binary) if binary.operator == Operator::Multiply => {
            (Some(&binary.left), Some(binary.right.ungrouped()))
        }
        _ => (None, None),
    }
}

impl BlockDraft {
    fn resolve(&self, hidden: usize, positions: usize) -> Option<ir::Block> {
        let rope_theta = match self.placement?.value {
            Placement::Rope { theta } => Some(theta),
            Placement::Learned | Placement::None => None,
        };
        let mixing = match self.mixing? {
            MixingDraft::Attention { heads } => ir::Mixing::Attention { heads, rope_theta },
            MixingDraft::Mlp(width) => ir::Mixing::Mlp { inner: width.resolve(positions) },
        };
        Some(ir::Block { mixing, inner: self.inner?.resolve(hidden), norm_eps: self.norm_eps? })
    }
}

fn puzzle_too_wide(fields: &Fields<'_>, width: usize, positions: usize, hidden: Placed<usize>) -> Diagnostic {
    let room = positions * hidden.value;
    let needed = width.div_ceil(hidden.value);
    let message =
        format!("a puzzle vector of width {width} does not fit into [{positions}, {}]", hidden.value);
    Diagnostic::error(Code::PuzzleWidth, fields.span("width"), message)
        .label(format!("at most {room}"))
        .secondary(fields.span("positions"), format!("{positions} prefix positions"))
        .secondary(hidden.span, format!("of width {}", hidden.value))
        .help(format!("use at least {needed} positions, or leave `positions` out"))
        .offer(format!("use {needed} positions"), [fields.set("positions", &needed.to_string())])
        .offer("leave `positions` out", fields.remove(&["positions"]))
}

fn mixer_without(what: &str, span: Span, mixing: Span) -> Diagnostic {
    Diagnostic::error(Code::ConflictingKeys, span, format!("a block that mixes with `mlp` has no {what}"))
        .label("would have no effect")
        .secondary(mixing, "this block has no attention")
        .mend("remove it", [Edit::Remove(span)])
}

fn heads_do_not_divide(span: Span, heads: usize, hidden: Placed<usize>, step: usize) -> Diagnostic {
    let width = hidden.value;
    let diagnostic =
        Diagnostic::error(Code::HeadWidth, span, format!("{heads} heads do not divide the width {width}"))
            .label(format!("does not divide {width}"))
            .secondary(hidden.span, "the width");
    match nearest_heads(heads, width, step)[..] {
        [] => diagnostic.help("change the width"),
        [fitting] => diagnostic.help(format!("use {fitting} heads")).write(span, &fitting.to_string()),
        [below, above, ..] => diagnostic
            .help(format!("use {below} or {above} heads"))
            .write(span, &below.to_string())
            .write(span, &above.to_string()),
    }
}

/// Returns the nearest numbers of heads, below and above, whose width is a multiple of `step`.
fn nearest_heads(heads: usize, width: usize, step: usize) -> Vec<usize> {
    let fits = |heads: &usize| width.is_multiple_of(*heads * step);
    let below = (1..heads.min(width)).rev().find(fits);
    below.into_iter().chain((heads + 1..=width).find(fits)).collect()
}

fn odd_heads(span: Span, heads: usize, hidden: Placed<usize>, rope: Option<Span>) -> Diagnostic {
    let width = hidden.value / heads;
    let message = format!("rotation needs heads of even width, found {} / {heads} = {width}", hidden.value);
    let diagnostic = Diagnostic::error(Code::OddHeadWidth, span, message)
        .label(format!("makes heads of width {width}"))
        .secondary(hidden.span, "the width")
        .help("use another number of heads, or `positions = learned`");
    let diagnostic = nearest_heads(heads, hidden.value, 2)
        .into_iter()
        .fold(diagnostic, |diagnostic, fitting| diagnostic.write(span, &fitting.to_string()));
    match rope {
        Some(rope) => diagnostic.secondary(rope, "asks for rotation"),
        None => diagnostic.note("rotation is the default for `positions`"),
    }
}

fn width_twice(other: &str, span: Span, width: Span) -> Diagnostic {
    let message = format!("`{other}` and `width` exclude each other");
    let diagnostic = Diagnostic::error(Code::ConflictingKeys, span, message)
        .label("would have no effect")
        .secondary(width, "the width is given here");
    keep_one(diagnostic, [span, width])
}

fn too_wide(span: Span, expansion: f32) -> Diagnostic {
    let message = format!("`expansion` must be at most {MAX_EXPANSION}, found {expansion}");
    Diagnostic::error(Code::OutOfRange, span, message)
        .label(format!("expected at most {MAX_EXPANSION}"))
        .write(span, &MAX_EXPANSION.to_string())
}

fn widths_differ(block: &str, hidden: Placed<usize>, first: &str, expected: Placed<usize>) -> Diagnostic {
    let message = format!(
        "blocks of one model have one width, found [B, S, {}] in `{block}` and [B, S, {}] in `{first}`",
        hidden.value, expected.value
    );
    Diagnostic::error(Code::ShapeMismatch, hidden.span, message)
        .label(format!("expected {}", expected.value))
        .secondary(expected.span, "the width of the model")
        .help(format!("write `hidden = {}` in every block", expected.value))
        .write(hidden.span, &expected.value.to_string())
}

fn placements_differ(block: &str, span: Span, first: &str, expected: Span) -> Diagnostic {
    let message = format!("`{block}` and `{first}` disagree on whether positions are learned");
    Diagnostic::error(Code::PositionsDisagree, span, message)
        .label("disagrees")
        .secondary(expected, format!("`{first}` begins here"))
        .note("learned positions are added to the embedded input, which all blocks share")
        .help("write `positions = learned` in every block or in none")
}

fn unused_block(section: &Section, statement: Span) -> Diagnostic {
    Diagnostic::warning(
        Code::UnusedBlock,
        section.name.span,
        format!("no network uses the block `{}`", section.name.text),
    )
    .label("defined here")
    .mend("remove it", [Edit::Remove(statement)])
}

fn no_stack(value: &Expr, whole: Span, outline: &Outline<'_>) -> Diagnostic {
    let stack = format!("4 * {}", outline.block());
    let diagnostic = Diagnostic::error(
        Code::WrongType,
        value.span,
        format!("a network is a number of blocks, found {}", value.describe()),
    )
    .label("expected `count * block`")
    .help(format!("write `{stack}`"));
    match outline.blocks[..] {
        [_] => diagnostic.write(whole, &stack),
        _ => diagnostic,
    }
}

fn unknown_block(name: &str, span: Span, named: Option<Named>, outline: &Outline<'_>) -> Diagnostic {
    let diagnostic = match named {
        Some(named) => wrong_name(name, span, "a block", named),
        None => Diagnostic::error(Code::UnknownName, span, format!("there is no block `{name}`"))
            .label("expected a block"),
    };
    match outline.blocks.is_empty() {
        true if RESERVED.contains(&name) => diagnostic.help("define a block, and name it here"),
        true => diagnostic.help(format!("define it with `block {name} {{ hidden = …, heads = … }}`")),
        false => {
            let blocks = outline.blocks.iter().map(|block| block.name.text.as_str());
            suggest(diagnostic, span, name, blocks)
        }
    }
}
