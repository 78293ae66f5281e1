//! The text of the kernels.
//!
//! A kernel is CUDA C, compiled on the machine that runs it. What stands in `kernels/` needs no header; the tests
//! compile the same text for the CPU. Instructions that only some devices have are wrapped in [`TENSOR`], and what
//! they do is defined a second time beside the emulator.
//!
//! Most kernels are templates over the elements of what they read and write ([`Template`]). What runs are their
//! entries for the elements of a call ([`Kernel`]), which [`source`] writes behind the text.

use std::fmt::Write;

use crate::plan::Element;

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
    ProductBf16 "product_bf16",
    Norm "norm",
    Attention "attention",
    AttentionBf16 "attention_bf16",
    Gated "gated",
    Embedding "embedding",
    Loss "loss",
    Optimizer "optimizer",
);

/// What stands before the text of every family.
pub const COMMON: &str = include_str!("kernels/common.cu");

/// What stands after [`COMMON`] before the text of families that use tensor cores.
pub const TENSOR: &str = include_str!("kernels/tensor.cu");

impl Family {
    /// Returns whether [`TENSOR`] stands before the text.
    pub fn uses_tensor_cores(self) -> bool {
        matches!(self, Family::AttentionBf16 | Family::ProductBf16)
    }
}

macro_rules! templates {
    ($($variant:ident $name:literal $family:ident),+ $(,)?) => {
        /// A function of a family, for elements of any type where it is a template.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is documented in the text of its family")]
        pub enum Template { $($variant),+ }

        impl Template {
            /// All functions.
            pub const ALL: &[Template] = &[$(Template::$variant),+];

            /// Returns the name of the function.
            pub fn name(self) -> &'static str {
                match self { $(Template::$variant => $name),+ }
            }

            /// Returns where its text is.
            pub fn family(self) -> Family {
                match self { $(Template::$variant => Family::$family),+ }
            }
        }
    };
}

templates!(
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
    Pad "pad" Layout,
    Transpose "transpose" Layout,
    ResetRows "reset_rows" Layout,
    RowDistance "row_distance" Layout,
    LinearSwiglu "linear_swiglu" Product,
    LinearSwigluBf16 "linear_swiglu_bf16" ProductBf16,
    RmsNorm "rms_norm" Norm,
    AddRmsNorm "add_rms_norm" Norm,
    RmsNormGrad "rms_norm_grad" Norm,
    Attention "attention" Attention,
    AttentionGradDelta "attention_grad_delta" Attention,
    AttentionGradQueries "attention_grad_queries" Attention,
    AttentionGradKeys "attention_grad_keys" Attention,
    Rotate "rotate" Attention,
    AttentionBf16Of64 "attention_bf16_64" AttentionBf16,
    AttentionBf16Of128 "attention_bf16_128" AttentionBf16,
    AttentionGradQueriesBf16Of64 "attention_grad_queries_bf16_64" AttentionBf16,
    AttentionGradQueriesBf16Of128 "attention_grad_queries_bf16_128" AttentionBf16,
    AttentionGradKeysBf16Of64 "attention_grad_keys_bf16_64" AttentionBf16,
    AttentionGradKeysBf16Of128 "attention_grad_keys_bf16_128" AttentionBf16,
    AttentionGradBf16Short "attention_grad_bf16_short" AttentionBf16,
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
    Assign "assign" Optimizer,
);

/// What a kernel takes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// A pointer to memory of the device.
    Pointer,
    /// An unsigned number of 64 bits.
    Size,
    /// A number of 32 bits.
    Number,
}

/// A parameter of a template as its text has it.
struct Declared {
    /// The parameter, with the letter of its element where that differs from use to use.
    text: &'static str,
    /// Its kind.
    kind: ParameterKind,
}

impl Template {
    /// Returns the letters of the elements and the parameters, read from the text.
    ///
    /// # Panics
    ///
    /// Panics if the text has no such kernel, or one with a parameter of another type.
    fn declared(self) -> (Vec<&'static str>, Vec<Declared>) {
        let text = self.family().text();
        let start = |words: &str| {
            let start = format!("{words} {}(", self.name());
            text.find(&start).map(|at| (at, at + start.len()))
        };
        let (letters, start) = match start("KERNEL") {
            Some((at, end)) => {
                let (_, list) = text[..at].rsplit_once("template <").expect("a KERNEL is a template");
                let (list, _) = list.split_once('>').expect("a list of letters ends");
                (list.split(',').map(|letter| letter.trim().trim_start_matches("class ")).collect(), end)
            }
            None => (Vec::new(), start("extern \"C\" __global__ void").expect("the family has the kernel").1),
        };
        let (list, _) = text[start..].split_once(')').expect("a list of parameters ends");
        // A comma between angle brackets parts no parameters.
        let mut depth = 0;
        let parts = list.split(|letter| {
            depth += i32::from(letter == '<') - i32::from(letter == '>');
            letter == ',' && depth == 0
        });
        let declared = parts.map(|part| {
            let text = part.trim();
            let kind = match text {
                text if text.contains('*') => ParameterKind::Pointer,
                text if text.starts_with("u64 ") => ParameterKind::Size,
                text if text.starts_with("float ") => ParameterKind::Number,
                text => panic!("`{text}` is no parameter of a kernel"),
            };
            Declared { text, kind }
        });
        (letters, declared.collect())
    }

    /// Returns, for each element that differs from use to use, the first parameter that points to such ones.
    pub fn typed_parameters(self) -> Vec<usize> {
        let (letters, declared) = self.declared();
        let has = |letter: &str, parameter: &Declared| words(parameter.text).any(|word| word == letter);
        let first = |letter| declared.iter().position(|parameter| has(letter, parameter));
        letters
            .into_iter()
            .map(|letter| first(letter).expect("every letter is that of a parameter"))
            .collect()
    }
}

/// Returns the words of a text, and what is between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|letter: char| !letter.is_alphanumeric() && letter != '_').flat_map(|piece| {
        let end = piece.trim_end_matches(|letter: char| !letter.is_alphanumeric() && letter != '_').len();
        [&piece[..end], &piece[end..]]
    })
}

/// What a device runs: a function for elements of certain types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// The function.
    pub template: Template,
    /// Elements, as many as the function has letters for them.
    pub elements: Vec<Element>,
}

impl Kernel {
    /// Returns every function for f32 and bf16 in every place.
    pub fn all() -> Vec<Kernel> {
        let mut all = Vec::new();
        for &template in Template::ALL {
            let letters = template.declared().0.len();
            for choice in 0..1_usize << letters {
                let element = |at: usize| if choice >> at & 1 == 1 { Element::Bf16 } else { Element::F32 };
                all.push(Kernel { template, elements: (0..letters).map(element).collect() });
            }
        }
        all
    }

    /// Returns the name that a device knows: that of the function, with its elements.
    pub fn name(&self) -> String {
        self.elements
            .iter()
            .fold(self.template.name().to_string(), |name, element| name + "_" + element.name())
    }

    /// Returns where its text is.
    pub fn family(&self) -> Family {
        self.template.family()
    }

    /// Returns what the kernel takes, read from its text.
    pub fn parameters(&self) -> Vec<ParameterKind> {
        self.template.declared().1.into_iter().map(|parameter| parameter.kind).collect()
    }

    /// Returns the text of the entry, nothing where the function is one.
    fn entry(&self) -> String {
        let (letters, declared) = self.template.declared();
        if letters.is_empty() {
            return String::new();
        }
        let name_of = |word: &str| match letters.iter().position(|letter| *letter == word) {
            Some(at) => match self.elements[at] {
                Element::F32 => "float".to_string(),
                Element::Bf16 => "Bf16".to_string(),
                Element::I32 => "int".to_string(),
            },
            None => word.to_string(),
        };
        let takes: Vec<String> =
            declared.iter().map(|parameter| words(parameter.text).map(name_of).collect()).collect();
        let given: Vec<&str> = declared
            .iter()
            .map(|parameter| parameter.text.rsplit([' ', '*']).next().expect("a parameter has a name"))
            .collect();
        let (takes, given) = (takes.join(", "), given.join(", "));
        format!(
            "extern \"C\" __global__ void {}({takes}) {{ {}({given}); }}\n",
            self.name(),
            self.template.name()
        )
    }
}

/// Returns the text of a family with the entries of those of `kernels` that it has; [`COMMON`] belongs before it.
pub fn text_with_entries(family: Family, kernels: &[Kernel]) -> String {
    let mut text = family.text().to_string();
    for kernel in kernels.iter().filter(|kernel| kernel.family() == family) {
        let _ = write!(text, "{}", kernel.entry());
    }
    text
}

/// Returns a family as it is compiled: what all share, its text, and the entries of those of `kernels` that it has.
pub fn source(family: Family, kernels: &[Kernel]) -> String {
    let tensor = if family.uses_tensor_cores() { TENSOR } else { "" };
    format!("{COMMON}\n{tensor}{}", text_with_entries(family, kernels))
}

#[cfg(test)]
mod tests {
    use super::{Element, Family, Kernel, Template, source};

    #[test]
    fn the_list_has_every_kernel_of_every_text() {
        for &family in Family::ALL {
            let named =
                family.text().matches("__global__").count() + family.text().matches("KERNEL ").count();
            let listed: Vec<_> = Template::ALL.iter().filter(|kernel| kernel.family() == family).collect();
            assert_eq!(listed.len(), named, "{}", family.file());
        }
        for kernel in Kernel::all() {
            assert!(!kernel.parameters().is_empty(), "{}", kernel.name());
            assert_eq!(kernel.template.typed_parameters().len(), kernel.elements.len());
        }
    }

    #[test]
    fn an_entry_names_the_elements_it_is_for() {
        let kernel = Kernel { template: Template::Swiglu, elements: vec![Element::Bf16, Element::F32] };
        let text = source(Family::Gated, &[kernel]);
        let entry = "extern \"C\" __global__ void swiglu_bf16_f32(Bf16 *out, const float *x, u64 inner, u64 count) \
                     { swiglu(out, x, inner, count); }";
        assert_eq!(text.lines().last(), Some(entry));
        let kernel = Kernel { template: Template::Assign, elements: vec![Element::Bf16, Element::F32] };
        let text = source(Family::Optimizer, &[kernel]);
        assert!(
            text.contains("assign_bf16_f32(const Pair<Bf16, float> *chunks) { assign(chunks); }"),
            "{text}"
        );
    }

    #[test]
    fn elements_are_those_of_the_first_pointers_to_them() {
        assert_eq!(Template::AttentionGradQueries.typed_parameters(), [0, 1, 3]);
        assert_eq!(Template::AddRmsNorm.typed_parameters(), [0, 2, 3]);
        assert_eq!(Template::Sigmoid.typed_parameters(), [] as [usize; 0]);
    }
}
