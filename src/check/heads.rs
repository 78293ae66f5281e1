//! The statements `predict` and `halt`: heads, and when a row stops.

use super::Context;
use super::block::Placed;
use super::outline::Outline;
use super::reader::{Fields, MAX_INTEGER, Reals, to_usize};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir::{self, QOutputs, QTarget, StateId};
use crate::span::Span;
use crate::syntax::ast::{Expr, ExprKind, Predict};

/// A Q head before the halting policy has its say.
#[derive(Debug)]
pub(super) struct QDraft {
    pub(super) state: StateId,
    position: usize,
    bias: f32,
    /// Absent where the policy decides.
    outputs: Option<Placed<QOutputs>>,
}

impl<'a> Context<'a> {
    /// Returns the state that the tokens are predicted from.
    pub(super) fn token_head(&mut self, outline: &Outline<'a>) -> Option<StateId> {
        let Some(predict) = outline.predict_tokens else {
            let example = format!("predict tokens from {}", outline.state());
            self.missing_statement(outline, "predict tokens", &example);
            return None;
        };
        self.predict_settings(predict);
        if let Some(position) = &predict.position {
            // The brackets are no part of the position.
            let entries = predict.entries.as_ref().map(|entries| entries.span.start);
            let ends = entries.unwrap_or(self.statement(position.span).end);
            let brackets = Span::new(predict.state.span.end, ends);
            self.report(tokens_at_a_position(position.span, brackets, entries.is_some()));
        }
        self.state(&predict.state.text, predict.state.span, outline)
    }

    /// Returns the Q head; `Some(None)` for a model without one and `None` if there is an error.
    pub(super) fn q_head(
        &mut self,
        outline: &Outline<'a>,
        positions: Option<usize>,
    ) -> Option<Option<QDraft>> {
        let Some(predict) = outline.predict_q else { return Some(None) };
        let settings = self.predict_settings(predict)?;
        let state = self.state(&predict.state.text, predict.state.span, outline);
        let position = match &predict.position {
            Some(position) => self.integer_value(position, "position", 0..=MAX_INTEGER).map(to_usize),
            None => Some(0),
        };
        if let (Some(position), Some(expr), Some(positions)) = (position, &predict.position, positions)
            && position >= positions
        {
            self.report(position_outside(expr.span, position, positions, &predict.state.text));
            return None;
        }
        let bias = self.real_or(&settings, "bias", Reals::All, -5.0);
        let outputs = match settings.get("outputs") {
            Some(value) => self
                .unitless(value)
                .and_then(|expr| Some(Placed { value: self.outputs(expr)?, span: expr.span }))
                .map(Some),
            None => Some(None),
        };
        Some(Some(QDraft { state: state?, position: position?, bias: bias?, outputs: outputs? }))
    }

    fn predict_settings(&mut self, predict: &'a Predict) -> Option<Fields<'a>> {
        let what = &predict.what;
        let entries = predict.entries.as_ref();
        self.chosen_word(&super::keys::PREDICT, &what.text, what.span, entries).map(|(_, settings)| settings)
    }

    fn outputs(&mut self, expr: &'a Expr) -> Option<QOutputs> {
        let parts: Vec<&Expr> = match &expr.ungrouped().kind {
            ExprKind::Tuple(parts) => parts.iter().collect(),
            _ => vec![expr],
        };
        let mut words = Vec::new();
        let mut known = true;
        for part in parts {
            match self.chosen(&super::keys::OUTPUT, part) {
                Some((word, _)) => words.push(word),
                None => known = false,
            }
        }
        match (known, words.as_slice()) {
            (true, ["halt", "continue"]) => Some(QOutputs::HaltContinue),
            (true, ["halt"]) => Some(QOutputs::Halt),
            (true, _) => {
                self.report(no_outputs(expr.span));
                None
            }
            (false, _) => None,
        }
    }

    /// Returns the halting policy and the Q head it reads.
    pub(super) fn halt(
        &mut self,
        outline: &Outline<'a>,
        q: Option<Option<QDraft>>,
    ) -> Option<(ir::Halt, Option<ir::QHead>)> {
        let Some(halt) = outline.halt else {
            // Q-learning needs a Q head.
            let example = match outline.predict_q {
                Some(_) => "halt q_learning { max_segments = 16 }",
                None => "halt fixed(16)",
            };
            self.missing_statement(outline, "halt", example);
            return None;
        };
        let policy = &halt.policy;
        let (word, settings) =
            self.chosen_word(&super::keys::HALT, &policy.text, policy.span, halt.entries.as_ref())?;
        if word == "fixed" {
            let segments = self.integer(&settings, "segments", 1..=MAX_INTEGER);
            if let Some(predict) = outline.predict_q {
                self.report(q_without_use(
                    predict.what.span,
                    self.statement(predict.what.span),
                    word,
                    policy.span,
                ));
            }
            return Some((ir::Halt::Fixed { segments: segments? }, None));
        }
        let max_segments = self.integer(&settings, "max_segments", 1..=MAX_INTEGER);
        if word == "residual" {
            let eps = self.real(&settings, "eps", Reals::Positive);
            // Inference may run more segments than training does.
            if max_segments == Some(1) && eps.is_some() && outline.infer.is_none() {
                let statement = self.statement(policy.span);
                self.report(nothing_to_settle(
                    settings.span("eps"),
                    settings.span("max_segments"),
                    statement,
                ));
            }
            if let Some(predict) = outline.predict_q {
                self.report(q_without_use(
                    predict.what.span,
                    self.statement(predict.what.span),
                    word,
                    policy.span,
                ));
            }
            return Some((ir::Halt::Residual { eps: eps?, max_segments: max_segments? }, None));
        }
        let explore = self.real_or(&settings, "explore", Reals::Fraction, 0.0);
        if let (Some(1), Some(explore)) = (max_segments, explore)
            && explore > 0.0
        {
            self.report(nothing_to_explore(&settings));
        }
        // Only `q_learning` has a target to choose.
        let target = match word {
            "q_learning" => match self.choice(&settings, "target", "bootstrap")?.0 {
                "none" => Some(QTarget::None),
                _ => Some(QTarget::Bootstrap),
            },
            _ => None,
        };
        let bootstraps = target == Some(QTarget::Bootstrap);
        let q = match q? {
            Some(q) => q,
            None => {
                if self.complete && !self.misspelt.contains("predict q") {
                    let outputs = if bootstraps { "(halt, continue)" } else { "halt" };
                    self.report(q_missing(word, outputs, policy.span, outline));
                }
                return None;
            }
        };
        let outputs = match q.outputs {
            Some(Placed { value: QOutputs::Halt, span: outputs }) if bootstraps => {
                let predict = outline.predict_q.expect("the Q head comes from this statement");
                let span = predict.entries.as_ref().map_or(predict.what.span, |entries| entries.span);
                let bootstraps_not = settings.set("target", "none");
                self.report(q_continue_missing(span, outputs, policy.span, bootstraps_not));
                return None;
            }
            Some(outputs) => outputs.value,
            None if bootstraps => QOutputs::HaltContinue,
            None => QOutputs::Halt,
        };
        let head = ir::QHead { state: q.state, position: q.position, bias: q.bias, outputs };
        let (max_segments, explore) = (max_segments?, explore?);
        let halt = match target {
            Some(target) => ir::Halt::QLearning { max_segments, explore, target },
            None => ir::Halt::Bce { max_segments, explore },
        };
        Some((halt, Some(head)))
    }
}

fn tokens_at_a_position(span: Span, brackets: Span, settings_follow: bool) -> Diagnostic {
    let space = if settings_follow { " " } else { "" };
    Diagnostic::error(Code::WrongType, span, "tokens are predicted at every position, found a single one")
        .label("not expected")
        .mend("remove the position", [Edit::replace(brackets, space)])
}

fn position_outside(span: Span, position: usize, positions: usize, state: &str) -> Diagnostic {
    let message = format!("`{state}` has the positions 0 to {}, found {position}", positions - 1);
    Diagnostic::error(Code::OutOfRange, span, message)
        .label(format!("expected at most {}", positions - 1))
        .write(span, &(positions - 1).to_string())
        .note("prefix positions of the puzzle vector count, and come first")
}

fn no_outputs(span: Span) -> Diagnostic {
    Diagnostic::error(Code::WrongType, span, "the outputs are `(halt, continue)` or `halt`, in this order")
        .label("expected `(halt, continue)` or `halt`")
        .mend("write `outputs = (halt, continue)`", [Edit::replace(span, "(halt, continue)")])
}

fn q_without_use(span: Span, statement: Span, word: &str, policy: Span) -> Diagnostic {
    Diagnostic::error(Code::QOutputsMismatch, span, "nothing reads the Q values of this model")
        .label("predicted here")
        .secondary(policy, format!("`{word}` reads no Q values"))
        .help("remove `predict q`, or choose another halting policy")
        .offer("remove `predict q`", [Edit::Remove(statement)])
}

fn q_missing(policy: &str, outputs: &str, span: Span, outline: &Outline<'_>) -> Diagnostic {
    let state = outline.predict_tokens.map_or("z", |predict| predict.state.text.as_str());
    let statement = format!("predict q from {state}[0] {{ outputs = {outputs} }}");
    Diagnostic::error(
        Code::QOutputsMismatch,
        span,
        format!("`{policy}` reads Q values, but none are predicted"),
    )
    .label(format!("reads `{outputs}`"))
    .mend(format!("add `{statement}`"), [Edit::Add(outline.body, statement)])
}

fn q_continue_missing(span: Span, outputs: Span, policy: Span, bootstraps_not: Edit) -> Diagnostic {
    Diagnostic::error(
        Code::QOutputsMismatch,
        span,
        "`q_learning` needs the outputs `(halt, continue)`, found `halt`",
    )
    .label("has `halt` alone")
    .secondary(policy, "compares `halt` with `continue`")
    .help("write `outputs = (halt, continue)`, or set `target = none`")
    .offer("write `outputs = (halt, continue)`", [Edit::replace(outputs, "(halt, continue)")])
    .offer("set `target = none`", [bootstraps_not])
}

fn nothing_to_settle(span: Span, max_segments: Span, statement: Span) -> Diagnostic {
    Diagnostic::warning(Code::WithoutEffect, span, "`eps` has no effect with one segment")
        .label("has no effect")
        .secondary(max_segments, "nothing is left to stop after the first segment")
        .help("write `halt fixed(1)`, or allow more segments")
        .write(statement, "halt fixed(1)")
}

fn nothing_to_explore(settings: &Fields<'_>) -> Diagnostic {
    let message = "`explore` has no effect with one segment";
    Diagnostic::warning(Code::WithoutEffect, settings.span("explore"), message)
        .label("has no effect")
        .secondary(settings.span("max_segments"), "no row runs longer than this")
        .mend("remove it", settings.remove(&["explore"]))
}
