//! The block `infer`: segments and rollouts of an answer.

use super::Context;
use super::outline::{Outline, parts};
use super::reader::{Fields, MAX_INTEGER, Reals};
use crate::diagnostic::{Code, Diagnostic};
use crate::ir::{self, Halt};
use crate::span::Span;

impl<'a> Context<'a> {
    /// Checks `infer`; `Some(None)` for a model without one and `None` if there is an error.
    ///
    /// `halt` is the halting policy with the Q head it reads, and `tokens` are those of the model, unless something is
    /// wrong with them.
    pub(super) fn infer(
        &mut self,
        outline: &Outline<'a>,
        halt: Option<&(Halt, Option<ir::QHead>)>,
        tokens: Option<&ir::Tokens>,
    ) -> Option<Option<ir::Infer>> {
        let Some(section) = outline.infer else { return Some(None) };
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::INFER, owner, entries);
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
        let check = self.answer_check(&fields, tokens);
        Some(Some(ir::Infer {
            segments: segments?,
            halt: halts?,
            settle: settle?,
            rollouts: rollouts?,
            check: check?,
        }))
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
