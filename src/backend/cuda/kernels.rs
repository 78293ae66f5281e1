//! The text of the kernels.
//!
//! A kernel is CUDA C, compiled on the machine that runs it. What stands in `kernels/` needs no header and no
//! instruction that only some devices have; the tests compile the same text for the CPU.

macro_rules! families {
    ($($variant:ident $file:literal),+ $(,)?) => {
        /// A file of kernels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each file begins with what it holds")]
        pub enum Family { $($variant),+ }

        impl Family {
            /// All families.
            pub const ALL: &[Family] = &[$(Family::$variant),+];

            /// Returns the name of the file.
            pub fn file(self) -> &'static str {
                match self { $(Family::$variant => concat!($file, ".cu")),+ }
            }

            /// Returns the text, without what all families share.
            pub fn text(self) -> &'static str {
                match self { $(Family::$variant => include_str!(concat!("kernels/", $file, ".cu"))),+ }
            }
        }
    };
}

families!(
    Elementwise "elementwise",
    Layout "layout",
    Product "product",
    Norm "norm",
    Attention "attention",
    Gated "gated",
    Embedding "embedding",
    Loss "loss",
    Optimizer "optimizer",
);

/// What stands before the text of every family.
pub const COMMON: &str = include_str!("kernels/common.cu");

macro_rules! kernels {
    ($($variant:ident $name:literal $family:ident),+ $(,)?) => {
        /// A function of a family that a device runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is documented in the text of its family")]
        pub enum Kernel { $($variant),+ }

        impl Kernel {
            /// All kernels.
            pub const ALL: &[Kernel] = &[$(Kernel::$variant),+];

            /// Returns the name of the function.
            pub fn name(self) -> &'static str {
                match self { $(Kernel::$variant => $name),+ }
            }

            /// Returns where its text is.
            pub fn family(self) -> Family {
                match self { $(Kernel::$variant => Family::$family),+ }
            }
        }
    };
}

kernels!(
    Add "add" Elementwise,
    Scale "scale" Elementwise,
    AddSuffix "add_suffix" Elementwise,
    SumLeading "sum_leading" Elementwise,
    Fill "fill" Elementwise,
    Sigmoid "sigmoid" Elementwise,
    Maximum "maximum" Elementwise,
    Choose "choose" Elementwise,
    Equal "equal" Elementwise,
    CopyAxis "copy_axis" Layout,
    PadAxis "pad_axis" Layout,
    TransposeLastTwo "transpose_last_two" Layout,
    ResetRows "reset_rows" Layout,
    RowDistance "row_distance" Layout,
    ProductSwiglu "product_swiglu" Product,
    RmsNorm "rms_norm" Norm,
    AddRmsNorm "add_rms_norm" Norm,
    RmsNormGrad "rms_norm_grad" Norm,
    Attention "attention" Attention,
    AttentionGradDelta "attention_grad_delta" Attention,
    AttentionGradQueries "attention_grad_queries" Attention,
    AttentionGradKeys "attention_grad_keys" Attention,
    RotateQkv "rotate_qkv" Attention,
    Swiglu "swiglu" Gated,
    SwigluGrad "swiglu_grad" Gated,
    Embed "embed" Embedding,
    EmbedGrad "embed_grad" Embedding,
    TokenLoss "token_loss" Loss,
    TokenLossGrad "token_loss_grad" Loss,
    Correctness "correctness" Loss,
    BceWithLogits "bce_with_logits" Loss,
    BceWithLogitsGrad "bce_with_logits_grad" Loss,
    AdamAtan2 "adam_atan2" Optimizer,
    AdamW "adam_w" Optimizer,
    SignSgdRows "sign_sgd_rows" Optimizer,
    Average "average" Optimizer,
);

/// What a kernel takes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// A pointer to memory of the device.
    Pointer,
    /// An unsigned number of 64 bits.
    Size,
    /// A number of 32 bits.
    Number,
}

impl Kernel {
    /// Returns what the kernel takes, read from its text.
    ///
    /// # Panics
    ///
    /// Panics if the text has no such kernel, or one with a parameter of another type.
    pub fn parameters(self) -> Vec<Parameter> {
        let start = format!("extern \"C\" __global__ void {}(", self.name());
        let (_, rest) = self.family().text().split_once(&start).expect("the family has the kernel");
        let (list, _) = rest.split_once(')').expect("a list of parameters ends");
        list.split(',')
            .map(|parameter| match parameter.trim() {
                text if text.contains('*') => Parameter::Pointer,
                text if text.starts_with("u64 ") => Parameter::Size,
                text if text.starts_with("float ") => Parameter::Number,
                text => panic!("`{text}` is no parameter of a kernel"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Kernel};

    #[test]
    fn the_list_has_every_kernel_of_every_text() {
        for &family in Family::ALL {
            let named = family.text().matches("__global__").count();
            let listed: Vec<_> = Kernel::ALL.iter().filter(|kernel| kernel.family() == family).collect();
            assert_eq!(listed.len(), named, "{}", family.file());
            for kernel in listed {
                assert!(!kernel.parameters().is_empty(), "{}", kernel.name());
            }
        }
    }
}
