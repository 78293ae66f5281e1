//! The operators of hrmc.
//!
//! Each file holds one family. An operator states its shape rule, its decomposition into luminal
//! primitives (the definition of what it means), its gradient rule, and its cost, through
//! [`Operation`], and through [`Signature`] what its operands are called and which of them stay in f32.
//! The set is closed: [`Op`] lists it, and backends match it exhaustively.

#[macro_use]
mod operands;
mod attention;
mod elementwise;
mod embedding;
mod fused;
mod gated;
mod linear;
pub mod loss;
mod movement;
mod norm;
mod rows;
mod update;

use std::fmt;

use super::luminal::{Primitives, Tensor};
use super::{Graph, TensorType, Value};

pub use attention::{Attention, AttentionGrad, Rotate, rope_tables};
pub use elementwise::{Add, AddSuffix, Choose, Equal, Fill, Maximum, Scale, Sigmoid, SumLeading};
pub use embedding::{Embed, EmbedGrad};
pub use fused::{AddRmsNorm, LinearAddRmsNorm, LinearSwiGlu};
pub use gated::{SwiGlu, SwiGluGrad};
pub use linear::{Linear, LinearGradInput, LinearGradWeight};
pub use loss::{BceWithLogits, BceWithLogitsGrad, Correctness, TokenLoss, TokenLossGrad, TokenLossKind};
pub use movement::{Concat, Detach, Input, Pad, Reshape, Slice, Transpose};
pub use norm::{RmsNorm, RmsNormGrad};
pub use operands::{NamedOperand, Signature, Storage};
pub use rows::{MIN_SUM_OF_SQUARES, ResetRows, RowDistance};
pub use update::{AdamAtan2, AdamW, Assign, Average, STRETCH, SignSgdRows};

/// Why an operator does not accept inputs of some types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError(pub String);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a gradient rule sees of the node it belongs to.
pub struct Backward<'a> {
    /// Values the node takes.
    pub inputs: &'a [Value],
    /// Values the node yields.
    pub outputs: &'a [Value],
    /// Gradient of the loss with respect to each output; `None` where it is zero.
    pub gradients: &'a [Option<Value>],
    /// Whether anybody asks for the gradient of each input.
    pub wanted: &'a [bool],
}

impl Backward<'_> {
    /// Returns the gradient of the first output, which the walk only reaches if there is one.
    pub fn gradient(&self) -> Value {
        self.gradients[0].expect("a gradient rule runs only where a gradient arrives")
    }
}

/// What every operator states about itself.
pub trait Operation: Signature {
    /// Returns the name in text, censuses and profiles.
    fn name(&self) -> &'static str;

    /// Returns what distinguishes this operator from others of its name.
    fn attributes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns the types of the outputs.
    ///
    /// # Errors
    ///
    /// Returns a [`ShapeError`] that names both shapes if the inputs do not fit.
    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError>;

    /// Builds the outputs from luminal primitives.
    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor>;

    /// Adds the gradient of the loss with respect to each wanted input to `graph`.
    ///
    /// The default serves operators nothing differentiates: updates, targets, gradients themselves.
    fn gradient(&self, _graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        unreachable!("no gradient flows through `{}` ({} inputs)", self.name(), at.inputs.len())
    }

    /// Returns the floating-point operations of matrix products and attention; a multiply-add is two.
    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        0
    }

    /// Returns the pairs of input and output that share memory, the output replacing the input.
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// Returns the input that the only output is, under another type and without a copy.
    fn view_of(&self) -> Option<usize> {
        None
    }

    /// Returns whether the only output is an input under another type, without a copy.
    fn is_view(&self) -> bool {
        self.view_of().is_some()
    }

    /// Returns whether the inputs stay in f32 wherever an output does: the operator hands on what it reads.
    fn inputs_follow_outputs(&self) -> bool {
        false
    }

    /// Returns the inputs that are factors of a matrix product.
    fn factors(&self) -> &'static [usize] {
        &[]
    }
}

macro_rules! operators {
    ($($name:ident),+ $(,)?) => {
        /// One operator.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each variant is documented at its struct")]
        pub enum Op { $($name($name)),+ }

        impl Op {
            /// Returns what the operator states about itself.
            pub fn as_operation(&self) -> &dyn Operation {
                match self { $(Op::$name(op) => op),+ }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Op { Op::$name(op) }
        })+
    };
}

operators!(
    Input,
    Detach,
    Reshape,
    Slice,
    Pad,
    Concat,
    Transpose,
    Add,
    Scale,
    AddSuffix,
    SumLeading,
    Fill,
    Sigmoid,
    Maximum,
    Choose,
    Equal,
    Linear,
    LinearGradInput,
    LinearGradWeight,
    RmsNorm,
    RmsNormGrad,
    Rotate,
    Attention,
    AttentionGrad,
    SwiGlu,
    SwiGluGrad,
    Embed,
    EmbedGrad,
    ResetRows,
    RowDistance,
    TokenLoss,
    TokenLossGrad,
    Correctness,
    BceWithLogits,
    BceWithLogitsGrad,
    AdamAtan2,
    AdamW,
    SignSgdRows,
    Average,
    Assign,
    AddRmsNorm,
    LinearSwiGlu,
    LinearAddRmsNorm,
);

/// Returns an error unless `holds`.
fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), ShapeError> {
    if holds { Ok(()) } else { Err(ShapeError(message())) }
}

/// Returns an error unless both types are equal.
fn require_equal(a: &TensorType, b: &TensorType) -> Result<(), ShapeError> {
    require(a == b, || format!("needs equal types, found {a} and {b}"))
}
