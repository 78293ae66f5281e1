//! The operands of operators: their names, their order, and which of them stay in f32.

/// One input or output of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedOperand {
    /// Name, unique among the operands of the operator, as its constant spells it.
    pub name: &'static str,
    /// How it is stored where a device rounds activations.
    pub storage: Storage,
}

/// How an operand is stored where a device rounds activations to bf16. Integers are stored as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As the device stores activations, unless another operator needs the value in f32.
    Activation,
    /// In f32, whoever else reads or writes it.
    F32,
}

/// What the operands of an operator are called. The macro `operands!` implements it, with a constant for each position.
pub trait Signature {
    /// Returns the inputs, in order.
    fn inputs(&self) -> &'static [NamedOperand];

    /// Returns the outputs, in order; an operator may leave out the last one.
    fn outputs(&self) -> &'static [NamedOperand];
}

/// States the operands of one operator, or of two with equal ones.
///
/// `operands!(Norm { inputs: [X], outputs: [Y, FACTOR: F32] })` makes the constants `Norm::X`, `Norm::Y` and
/// `Norm::FACTOR`, by which everything addresses the operands, and says that `FACTOR` stays in f32.
macro_rules! operands {
    ($operator:ident $signature:tt) => {
        operands!(@one $operator $signature);
    };
    ($first:ident, $second:ident $signature:tt) => {
        operands!(@one $first $signature);
        operands!(@one $second $signature);
    };
    (@one $operator:ident {
        inputs: [$($input:ident $(: $input_storage:ident)?),*],
        outputs: [$($output:ident $(: $output_storage:ident)?),*]
    }) => {
        impl $operator {
            operands!(@positions "input", 0; $($input)*);
            operands!(@positions "output", 0; $($output)*);
        }

        impl $crate::graph::ops::Signature for $operator {
            fn inputs(&self) -> &'static [$crate::graph::ops::NamedOperand] {
                &[$(operands!(@operand $input $($input_storage)?)),*]
            }

            fn outputs(&self) -> &'static [$crate::graph::ops::NamedOperand] {
                &[$(operands!(@operand $output $($output_storage)?)),*]
            }
        }
    };
    (@positions $kind:literal, $at:expr;) => {};
    (@positions $kind:literal, $at:expr; $first:ident $($rest:ident)*) => {
        #[doc = concat!("Position of the ", $kind, " `", stringify!($first), "`.")]
        pub const $first: usize = $at;
        operands!(@positions $kind, $at + 1; $($rest)*);
    };
    (@operand $name:ident) => {
        operands!(@operand $name Activation)
    };
    (@operand $name:ident $storage:ident) => {
        $crate::graph::ops::NamedOperand {
            name: stringify!($name),
            storage: $crate::graph::ops::Storage::$storage,
        }
    };
}
