//! The kernels of a plan as text, and what they become where the compiler is found.

use std::path::PathBuf;

use serde::Serialize;

use super::card::Card;
use super::kernels::{Family, source};
use super::launch::launches;
use super::nvrtc::{Compiler, Usage};
use super::probe::NotLoaded;
use crate::plan::Plan;

/// The kernels that a plan uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Emitted {
    /// Architecture that they were compiled for.
    pub architecture: &'static str,
    /// A text for each family of kernels.
    pub families: Vec<EmittedFamily>,
    /// Why the compiler was not loaded; absent where it was.
    pub no_compiler: Option<NotLoaded>,
}

/// The kernels of one family that a plan uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmittedFamily {
    /// Name of the file of the text.
    pub file: &'static str,
    /// The text.
    pub text: String,
    /// What became of it.
    pub compilation: Compilation,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compilation {
    /// There is no compiler.
    NotTried,
    /// The compiler does not accept it.
    Refused {
        /// What the compiler says.
        log: String,
    },
    /// It was compiled.
    Done {
        /// Name of the file of the portable assembly.
        file: String,
        /// Portable assembly.
        ptx: String,
        /// What each kernel takes, sorted by name.
        usage: Vec<Usage>,
    },
}

/// Returns the kernels that a plan uses, compiled for a card where the compiler is found.
pub fn emit(plan: &Plan, card: Card, toolkits: &[PathBuf]) -> Emitted {
    let kernels = launches(plan).kernels();
    let architecture = card.architecture();
    let compiler = Compiler::load(toolkits);
    let used = |family: Family| kernels.iter().any(|kernel| kernel.family() == family);
    let families = Family::ALL.iter().filter(|&&family| used(family)).map(|&family| EmittedFamily {
        file: family.file(),
        text: source(family, &kernels),
        compilation: match &compiler {
            Err(_) => Compilation::NotTried,
            Ok(compiler) => match compiler.compile(family, &kernels, architecture) {
                Err(log) => Compilation::Refused { log },
                Ok(compiled) => Compilation::Done {
                    file: family.file().replace(".cu", ".ptx"),
                    ptx: compiled.ptx,
                    usage: compiled.usage,
                },
            },
        },
    });
    Emitted { architecture, families: families.collect(), no_compiler: compiler.err() }
}
