//! Names of the memory that a model's programs share.
//!
//! Weights, moments and averages are shared by all programs of a model. The rows of a batch, the carry
//! and the results belong to one program, whose [scope](Scope) begins their names: training and
//! evaluation have batches of their own.

/// What the names of weights begin with.
const PARAMETER: &str = "param";
/// What the names of first moments begin with.
const MOMENT1: &str = "moment1";
/// What the names of second moments begin with.
const MOMENT2: &str = "moment2";
/// What the names of moving averages begin with.
const AVERAGE: &str = "average";
/// What the names of numbers begin with that change at each step.
const STEP: &str = "step";
/// What stands after the scope in the names of the carry.
const CARRY: &str = "carry";

/// Learning rate of the weights at this step, `[1]`.
pub const STEP_LR: &str = "step.lr";
/// `lr / (1 - beta1^t)`, `[1]`.
pub const STEP_SCALE: &str = "step.scale";
/// `1 / sqrt(1 - beta2^t)`, `[1]`.
pub const STEP_ROOT_SCALE: &str = "step.root_scale";
/// Learning rate of the puzzle table at this step, `[1]`.
pub const STEP_PUZZLE_LR: &str = "step.puzzle_lr";

/// Returns the name of the memory that has after a step the sums of squares of the gradient of a weight, `[stretches]`, or
/// of the puzzle vectors of the rows of the batch, `[B]`. Where a new weight is not finite, its sum is not either.
pub fn squares(name: &str) -> String {
    format!("{STEP}.squares.{name}")
}

/// Returns the name of a weight; `name` is its name in a state dict, e.g. `inner.lm_head.weight`.
pub fn parameter(name: &str) -> String {
    format!("{PARAMETER}.{name}")
}

/// Returns the name of the first moment of a weight.
pub fn moment1(name: &str) -> String {
    format!("{MOMENT1}.{name}")
}

/// Returns the name of the second moment of a weight.
pub fn moment2(name: &str) -> String {
    format!("{MOMENT2}.{name}")
}

/// Returns the name of the moving average of a weight.
pub fn average(name: &str) -> String {
    format!("{AVERAGE}.{name}")
}

/// The program that owns a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Training.
    Train,
    /// Evaluation.
    Evaluate,
}

impl Scope {
    /// Returns the name in text.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Train => "train",
            Scope::Evaluate => "evaluate",
        }
    }

    fn of(self, part: &str) -> String {
        format!("{}.{part}", self.name())
    }

    /// Input tokens of each row, `i32 [B, S]`.
    pub fn tokens(self) -> String {
        self.of("tokens")
    }

    /// Labels of each row, `i32 [B, S]`; -100 is not counted.
    pub fn labels(self) -> String {
        self.of("labels")
    }

    /// Puzzle identifier of each row, `i32 [B]`.
    pub fn puzzles(self) -> String {
        self.of("puzzles")
    }

    /// 1 for rows that begin a new sequence: their states are reset, `f32 [B]`.
    pub fn reset(self) -> String {
        self.of("reset")
    }

    /// 1 for rows whose sequence ends with this segment whatever the Q values say, `f32 [B]`.
    pub fn at_limit(self) -> String {
        self.of("at_limit")
    }

    /// State handed from segment to segment, `f32 [B, P + S, D]`.
    pub fn carry(self, state: &str) -> String {
        self.of(&format!("{CARRY}.{state}"))
    }

    /// State before the first update of a segment, `f32 [B, P + S, D]`; only where states are traced.
    pub fn begun(self, state: &str) -> String {
        self.of(&format!("begun.{state}"))
    }

    /// State that an update of the unrolled loop nest made, counted from 0, `f32 [B, P + S, D]`; only where states are
    /// traced.
    pub fn updated(self, update: usize) -> String {
        self.of(&format!("updated.{update}"))
    }

    /// Logits of the tokens if the segment ended soon after an update, `f32 [B, S, V]`; only where states are traced.
    pub fn decoded(self, update: usize) -> String {
        self.of(&format!("decoded.{update}"))
    }

    /// Q values if the segment ended soon after an update, before the sigmoid, that of halting first, `f32 [B, 2]` or
    /// `[B, 1]`; only where states are traced.
    pub fn decoded_q(self, update: usize) -> String {
        self.of(&format!("decoded_q.{update}"))
    }

    /// Queries, keys and values of a layer in an update, not rotated, `f32 [B, P + S, 3 D]`; only where attention is
    /// traced.
    pub fn qkv(self, update: usize, layer: usize) -> String {
        self.of(&format!("qkv.{update}.{layer}"))
    }

    /// Logits of the tokens, `f32 [B, S, V]`.
    pub fn logits(self) -> String {
        self.of("logits")
    }

    /// Q value of halting, before the sigmoid, `f32 [B]`.
    pub fn q_halt(self) -> String {
        self.of("q_halt")
    }

    /// Q value of going on, before the sigmoid, `f32 [B]`.
    pub fn q_continue(self) -> String {
        self.of("q_continue")
    }

    /// How far the state that the tokens are predicted from has moved in this segment, `f32 [B]`.
    pub fn residual(self) -> String {
        self.of("residual")
    }

    /// Target of going on, `f32 [B]`.
    pub fn target_q_continue(self) -> String {
        self.of("target_q_continue")
    }

    /// Loss of the tokens of each row, `f32 [B]`.
    pub fn token_loss(self) -> String {
        self.of("token_loss")
    }

    /// Loss of `q_halt` of each row, `f32 [B]`.
    pub fn halt_loss(self) -> String {
        self.of("halt_loss")
    }

    /// Loss of `q_continue` of each row, `f32 [B]`.
    pub fn continue_loss(self) -> String {
        self.of("continue_loss")
    }

    /// Right labels of each row, `f32 [B]`.
    pub fn right(self) -> String {
        self.of("right")
    }

    /// Counted labels of each row, `f32 [B]`.
    pub fn counted(self) -> String {
        self.of("counted")
    }

    /// Gradient of a weight, named as in a state dict.
    pub fn gradient(self, name: &str) -> String {
        self.of(&format!("grad.{name}"))
    }
}

/// What a piece of named memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// A weight.
    Weight,
    /// The moving average of a weight.
    Average,
    /// A moment of a weight.
    Moment,
    /// A number that the optimizer takes at each step, or a result of its own.
    StepScalar,
    /// A state handed from segment to segment.
    Carry,
    /// Input or result of the rows of a batch.
    Row,
}

/// Returns what the memory of this name holds.
pub fn memory_kind(name: &str) -> MemoryKind {
    match name.split_once('.') {
        Some((PARAMETER, _)) => MemoryKind::Weight,
        Some((AVERAGE, _)) => MemoryKind::Average,
        Some((MOMENT1 | MOMENT2, _)) => MemoryKind::Moment,
        Some((STEP, _)) => MemoryKind::StepScalar,
        Some((_scope, part)) if part.split_once('.').is_some_and(|(first, _)| first == CARRY) => {
            MemoryKind::Carry
        }
        Some(_) | None => MemoryKind::Row,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        MemoryKind, STEP_LR, STEP_PUZZLE_LR, STEP_ROOT_SCALE, STEP_SCALE, Scope, average, memory_kind,
        moment1, moment2, parameter, squares,
    };

    #[test]
    fn every_name_tells_what_its_memory_holds() {
        // A weight may be called like anything else.
        for weight in ["inner.lm_head.weight", "carry.z", "step.lr", "w"] {
            assert_eq!(memory_kind(&parameter(weight)), MemoryKind::Weight);
            assert_eq!(memory_kind(&average(weight)), MemoryKind::Average);
            assert_eq!(memory_kind(&moment1(weight)), MemoryKind::Moment);
            assert_eq!(memory_kind(&moment2(weight)), MemoryKind::Moment);
            assert_eq!(memory_kind(&squares(weight)), MemoryKind::StepScalar);
            for scope in [Scope::Train, Scope::Evaluate] {
                assert_eq!(memory_kind(&scope.gradient(weight)), MemoryKind::Row);
                assert_eq!(memory_kind(&scope.carry(weight)), MemoryKind::Carry);
            }
        }
        for name in [STEP_LR, STEP_SCALE, STEP_ROOT_SCALE, STEP_PUZZLE_LR] {
            assert_eq!(memory_kind(name), MemoryKind::StepScalar, "{name}");
        }
        for scope in [Scope::Train, Scope::Evaluate] {
            for name in [
                scope.tokens(),
                scope.labels(),
                scope.puzzles(),
                scope.reset(),
                scope.at_limit(),
                scope.logits(),
                scope.q_halt(),
                scope.q_continue(),
                scope.residual(),
                scope.target_q_continue(),
                scope.token_loss(),
                scope.halt_loss(),
                scope.continue_loss(),
                scope.right(),
                scope.counted(),
            ] {
                assert_eq!(memory_kind(&name), MemoryKind::Row, "{name}");
            }
        }
    }
}
