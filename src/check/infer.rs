//! The block `infer`: segments and rollouts of an answer, or the search of one.

use super::Context;
use super::block::ModelSizes;
use super::outline::{Outline, parts};
use super::reader::{Fields, MAX_INTEGER, Reals};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir::{self, Halt};
use crate::span::Span;

/// Keys that a search has no use for, with those that stand in their place.
const NOT_OF_A_SEARCH: &[(&str, Option<&str>)] = &[
    ("segments", Some("rounds")),
    ("halt", None),
    ("settle", None),
    ("rollouts", Some("chains")),
    ("noise", None),
    ("abstain", None),
];

/// Keys of a search alone, with those that stand in their place elsewhere.
const OF_A_SEARCH: &[(&str, Option<&str>)] = &[
    // Rollouts need noise as well.
    ("chains", None),
    ("rounds", Some("segments")),
    ("cell", None),
    ("conflict", None),
    ("dropout", None),
];

impl<'a> Context<'a> {
    /// Checks `infer`; `Some(None)` for a model without one and `None` if there is an error.
    ///
    /// `halt` is the halting policy with the Q head it reads, and `sizes` are those of the model, unless something is
    /// wrong with them.
    pub(super) fn infer(
        &mut self,
        outline: &Outline<'a>,
        halt: Option<&(Halt, Option<ir::QHead>)>,
        sizes: Option<&ModelSizes>,
    ) -> Option<Option<ir::Infer>> {
        let Some(section) = outline.infer else { return Some(None) };
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::INFER, owner, entries);
        let tokens = sizes.map(|sizes| &sizes.tokens);
        if outline.candidates.is_some() {
            let most = halt.map(|(policy, _)| policy.max_segments());
            let candidates = sizes.and_then(|sizes| sizes.candidates);
            return self.search(&fields, outline, most, candidates, tokens).map(Some);
        }
        let is_alone = self.all_belong(&fields, outline, OF_A_SEARCH);
        let segments = match fields.get("segments") {
            Some(_) => self.integer(&fields, "segments", 1..=MAX_INTEGER),
            None => halt.map(|(policy, _)| policy.max_segments()),
        };
        let default = match (halt, segments) {
            (Some((policy, _)), Some(segments)) if policy.stops_inference(segments) => "true",
            _ => "false",
        };
        let halts = self.choice(&fields, "halt", default).map(|(word, _)| word == "true");
        if halts == Some(true) {
            match (halt, segments) {
                (Some((Halt::Fixed { .. }, _)), _) => {
                    let policy = outline.halt.expect("the policy comes from this statement").policy.span;
                    self.report(fixed_never_halts(&fields, policy));
                    return None;
                }
                (_, Some(1)) => {
                    self.report(nothing_to_stop("halt = true", "halt", &fields));
                }
                _ => {}
            }
        }
        let settle = match fields.get("settle") {
            Some(_) => self.real(&fields, "settle", Reals::Positive).map(Some),
            None => Some(None),
        };
        if let (Some(_), Some(1)) = (fields.get("settle"), segments) {
            self.report(nothing_to_stop("settle", "settle", &fields));
        }
        let rollouts = self.rollouts(&fields, outline, halt, segments);
        let abstain = self.abstain(&fields, segments);
        let check = self.answer_check(&fields, tokens);
        is_alone?;
        Some(Some(ir::Infer {
            segments: segments?,
            halt: halts?,
            settle: settle?,
            rollouts: rollouts?,
            check: check?,
            abstain: abstain?,
            search: None,
        }))
    }

    /// Checks the keys of a search, whose chains run `most` rounds unless the spec says otherwise.
    fn search(
        &mut self,
        fields: &Fields<'a>,
        outline: &Outline<'a>,
        most: Option<usize>,
        candidates: Option<ir::Candidates>,
        tokens: Option<&ir::Tokens>,
    ) -> Option<ir::Infer> {
        let is_alone = self.all_belong(fields, outline, NOT_OF_A_SEARCH);
        let chains = self.integer_or(fields, "chains", 1..=MAX_INTEGER, 1);
        let rounds = match fields.get("rounds") {
            Some(_) => self.integer(fields, "rounds", 1..=MAX_INTEGER),
            None => most,
        };
        let usual = candidates.map_or(ir::CellChoice::Random, |candidates| candidates.cell);
        let cell = self.cell(fields, usual);
        let conflict = match fields.get("conflict") {
            Some(_) => self.real(fields, "conflict", Reals::Fraction),
            None => candidates.map(|candidates| candidates.conflict),
        };
        self.conflict_is_predicted(fields, outline);
        let dropout = self.real_or(fields, "dropout", Reals::Decay, 0.0);
        let check = self.answer_check(fields, tokens);
        is_alone?;
        let search = ir::Search { chains: chains?, cell: cell?, conflict: conflict?, dropout: dropout? };
        Some(ir::Infer { segments: rounds?, check: check?, search: Some(search), ..ir::Infer::default() })
    }

    /// Reports keys that have no meaning in this model; `None` if there are some.
    fn all_belong(
        &mut self,
        fields: &Fields<'a>,
        outline: &Outline<'a>,
        strangers: &[(&'static str, Option<&'static str>)],
    ) -> Option<()> {
        let may_have_candidates = !self.complete || self.misspelt.contains("candidates");
        let mut all = Some(());
        for &(key, instead) in strangers {
            if let Some(span) = fields.key_span(key) {
                all = None;
                if outline.candidates.is_some() || !may_have_candidates {
                    let instead = instead.filter(|instead| fields.get(instead).is_none());
                    self.report(stranger(fields, key, span, instead, outline));
                }
            }
        }
        all
    }

    /// Returns `Some(None)` where every row gets an answer and `None` if there is an error.
    fn abstain(&mut self, fields: &Fields<'a>, segments: Option<usize>) -> Option<Option<f32>> {
        if fields.get("abstain").is_none() {
            return Some(None);
        }
        let abstain = self.real(fields, "abstain", Reals::Positive)?;
        if segments == Some(1) {
            self.report(nothing_moves(fields));
            return None;
        }
        Some(Some(abstain))
    }

    /// Returns `Some(None)` for the rule of the kind of puzzles and `None` if there is an error.
    fn answer_check(
        &mut self,
        fields: &Fields<'a>,
        tokens: Option<&ir::Tokens>,
    ) -> Option<Option<ir::Check>> {
        if fields.get("check").is_none() {
            return Some(None);
        }
        let check = match self.required_choice(fields, "check", None)?.0 {
            "equal" => ir::Check::Equal,
            "sudoku" => ir::Check::Sudoku,
            _ => ir::Check::Maze,
        };
        match tokens {
            Some(tokens) if !check.fits(tokens) => {
                self.report(no_such_puzzles(fields, check, tokens));
                None
            }
            _ => Some(Some(check)),
        }
    }

    /// Returns `Some(None)` for a single attempt and `None` if there is an error.
    fn rollouts(
        &mut self,
        fields: &Fields<'a>,
        outline: &Outline<'a>,
        halt: Option<&(Halt, Option<ir::QHead>)>,
        segments: Option<usize>,
    ) -> Option<Option<ir::Rollouts>> {
        let count = self.integer_or(fields, "rollouts", 1..=MAX_INTEGER, 1)?;
        let noise = match fields.get("noise") {
            Some(_) => self.real(fields, "noise", Reals::Positive).map(Some),
            None => Some(None),
        };
        if count == 1 {
            if let Some(noise) = fields.entry_span("noise") {
                self.report(noise_without_rollouts(fields, noise));
                return None;
            }
            return Some(None);
        }
        let policy = outline.halt.map_or(fields.owner(), |halt| halt.policy.span);
        match (halt, segments) {
            (Some((Halt::Fixed { .. }, _)), _) => {
                self.report(nothing_chooses(fields, policy));
                return None;
            }
            (Some((Halt::Residual { .. }, _)), Some(1)) => {
                self.report(nothing_settles(fields, policy));
                return None;
            }
            _ => {}
        }
        match noise? {
            Some(noise) => Some(Some(ir::Rollouts { count, noise })),
            None => {
                if fields.may_miss("noise") {
                    self.report(rollouts_without_noise(fields));
                }
                None
            }
        }
    }
}

/// Reports a key that has no meaning in this model; `instead` is the one that has.
fn stranger(
    fields: &Fields<'_>,
    key: &str,
    span: Span,
    instead: Option<&str>,
    outline: &Outline<'_>,
) -> Diagnostic {
    let message = match outline.candidates {
        Some(_) => format!("`{key}` has no meaning in a search with candidates"),
        None => format!("`{key}` is about a search with candidates, and there are none"),
    };
    let diagnostic = Diagnostic::error(Code::CandidatesMismatch, span, message).label("not of this model");
    let diagnostic = match outline.candidates {
        Some(section) => diagnostic.secondary(section.name.span, "the candidates"),
        None => diagnostic.secondary(outline.name.span, "this model has no `candidates`"),
    };
    match instead {
        Some(instead) => diagnostic
            .help(format!("write `{instead}`, or remove it"))
            .offer(format!("write `{instead}`"), [Edit::replace(span, instead)])
            .offer("remove it", fields.remove(&[key])),
        None => diagnostic.mend("remove it", fields.remove(&[key])),
    }
}

fn nothing_moves(fields: &Fields<'_>) -> Diagnostic {
    let message = "`abstain` asks how far the state moves from segment to segment, but there is only one";
    Diagnostic::error(Code::ConflictingKeys, fields.span("abstain"), message)
        .label("nothing to compare with")
        .secondary(fields.span("segments"), "no row runs longer than this")
        .help("allow more segments, or remove `abstain`")
        .offer("remove `abstain`", fields.remove(&["abstain"]))
}

fn fixed_never_halts(fields: &Fields<'_>, policy: Span) -> Diagnostic {
    let message = "no row stops early, since `fixed` never says so";
    Diagnostic::error(Code::ConflictingKeys, fields.span("halt"), message)
        .label("asks rows to stop early")
        .secondary(policy, "runs the same number of segments on every row")
        .help("remove `halt = true`, or choose another halting policy")
        .offer("remove `halt = true`", fields.remove(&["halt"]))
}

fn nothing_to_stop(what: &str, key: &str, fields: &Fields<'_>) -> Diagnostic {
    let message = format!("`{what}` has no effect with one segment");
    Diagnostic::warning(Code::WithoutEffect, fields.span(key), message)
        .label("has no effect")
        .secondary(fields.span("segments"), "no row runs longer than this")
        .mend("remove it", fields.remove(&[key]))
}

fn no_such_puzzles(fields: &Fields<'_>, check: ir::Check, tokens: &ir::Tokens) -> Diagnostic {
    let expected = match check {
        ir::Check::Sudoku => "a Sudoku has positions = 16, 36, 81 or 256, and vocab = 6, 8, 11 or 18 with it",
        ir::Check::Maze | ir::Check::Equal => "a maze has as many positions as a square, and vocab = 6",
    };
    let message = format!(
        "`check = {}` cannot judge rows of {} tokens of {} kinds",
        check.name(),
        tokens.positions,
        tokens.vocab
    );
    Diagnostic::error(Code::DataMismatch, fields.span("check"), message)
        .label("has no meaning for these tokens")
        .note(expected)
        .help("write `check = equal`, or remove it")
        .offer("write `check = equal`", [fields.set("check", "equal")])
        .offer("remove it", fields.remove(&["check"]))
}

fn noise_without_rollouts(fields: &Fields<'_>, span: Span) -> Diagnostic {
    Diagnostic::error(Code::ConflictingKeys, span, "`noise` needs more than one rollout")
        .label("the first rollout has no noise")
        .help("add `rollouts = 4`, or remove `noise`")
        .offer("write `rollouts = 4`", [fields.set("rollouts", "4")])
        .offer("remove `noise`", fields.remove(&["noise"]))
}

fn rollouts_without_noise(fields: &Fields<'_>) -> Diagnostic {
    Diagnostic::error(Code::MissingKey, fields.span("rollouts"), "`rollouts` need `noise`")
        .label("all rollouts would be the same")
        .help("add `noise = 0.5`, the standard deviation of the noise on the initial states")
        .offer("add `noise = 0.5`", [fields.add("noise = 0.5")])
}

fn nothing_chooses(fields: &Fields<'_>, policy: Span) -> Diagnostic {
    let message =
        "nothing can choose among rollouts, since `fixed` neither reads Q values nor looks at the state";
    Diagnostic::error(Code::QOutputsMismatch, fields.span("rollouts"), message)
        .label("nothing says which of them is best")
        .secondary(policy, "the halting policy")
        .help("remove `rollouts`, or choose another halting policy")
        .offer("remove `rollouts`", fields.remove(&["rollouts", "noise"]))
}

fn nothing_settles(fields: &Fields<'_>, policy: Span) -> Diagnostic {
    let message =
        "rollouts are compared by how far the state moves from segment to segment, but there is only one";
    Diagnostic::error(Code::ConflictingKeys, fields.span("rollouts"), message)
        .label("nothing says which of them is best")
        .secondary(policy, "compares a state with its value a segment before")
        .help("allow more segments, or remove `rollouts`")
        .offer("remove `rollouts`", fields.remove(&["rollouts", "noise"]))
}
