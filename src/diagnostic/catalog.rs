//! The catalog of codes: every kind of problem hrmc can report about a spec.
//!
//! A new code is one entry here and one page under `pages/`.

macro_rules! catalog {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// Kind of a problem. The text form is stable; tools may rely on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// Every code, in the order of the catalog.
        pub const CODES: &[Code] = &[$(Code::$variant,)+];

        impl Code {
            /// Returns the kebab-case text form.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$variant => $text,)+
                }
            }

            /// Returns one sentence on what the code stands for.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Code::$variant => concat!($($doc,)+).trim_ascii(),)+
                }
            }

            /// Returns the code with this text form.
            pub fn from_text(text: &str) -> Option<Code> {
                CODES.iter().copied().find(|code| code.as_str() == text)
            }

            /// Returns the text of the page that explains the code.
            pub(super) fn page_text(self) -> &'static str {
                match self {
                    $(Code::$variant => include_str!(concat!("pages/", $text, ".md")),)+
                }
            }
        }
    };
}

catalog! {
    /// The text does not follow the grammar.
    Syntax = "syntax",
    /// Two items stand side by side with neither a comma nor a new line between them.
    MissingSeparator = "missing-separator",
    /// A brace, bracket or parenthesis has no partner.
    UnbalancedDelimiter = "unbalanced-delimiter",
    /// The base of a spec cannot be used.
    Base = "base",
    /// `without` names nothing that could be taken away.
    Without = "without",
    /// Too many braces, brackets and parentheses are open at once.
    NestingTooDeep = "nesting-too-deep",
    /// An expression has too many operators.
    ExpressionTooLong = "expression-too-long",
    /// A string is not closed on its line.
    UnclosedString = "unclosed-string",
    /// A backslash in a string stands before a character it gives no meaning to.
    UnknownEscape = "unknown-escape",
    /// A character is not part of the language.
    UnexpectedCharacter = "unexpected-character",
    /// A key, section or argument is not known here.
    UnknownKey = "unknown-key",
    /// A value stands alone where a key must say what it is.
    UnnamedValue = "unnamed-value",
    /// A name stands for nothing.
    UnknownName = "unknown-name",
    /// A name stands for another kind of thing than is needed.
    WrongName = "wrong-name",
    /// A word is none of the choices.
    UnknownValue = "unknown-value",
    /// A unit is not known, is missing, or stands where none belongs.
    WrongUnit = "wrong-unit",
    /// A key is given twice.
    DuplicateKey = "duplicate-key",
    /// A statement that may stand once stands twice.
    DuplicateStatement = "duplicate-statement",
    /// A name is given twice.
    DuplicateName = "duplicate-name",
    /// A name is taken by the language.
    ReservedName = "reserved-name",
    /// A key that has no default is missing.
    MissingKey = "missing-key",
    /// A model lacks a statement that it cannot do without.
    MissingStatement = "missing-statement",
    /// A file has no model.
    MissingModel = "missing-model",
    /// Two keys that exclude each other are both given.
    ConflictingKeys = "conflicting-keys",
    /// A value is of another kind than expected.
    WrongType = "wrong-type",
    /// A number lies outside the range.
    OutOfRange = "out-of-range",
    /// An expression divides by zero.
    DivisionByZero = "division-by-zero",
    /// A number is larger than any that can be reckoned with.
    NumberTooLarge = "number-too-large",
    /// The number of heads does not divide the width.
    HeadWidth = "head-width",
    /// Heads have an odd width, which rotation cannot use.
    OddHeadWidth = "odd-head-width",
    /// Two widths that must be equal differ.
    ShapeMismatch = "shape-mismatch",
    /// Blocks of one model place their tokens in different ways.
    PositionsDisagree = "positions-disagree",
    /// A puzzle vector is wider than its prefix positions.
    PuzzleWidth = "puzzle-width",
    /// The model does not fit the data it is trained on.
    DataMismatch = "data-mismatch",
    /// A loop has no iterations or no body.
    EmptyLoop = "empty-loop",
    /// The unrolled segment is too long.
    SegmentTooLong = "segment-too-long",
    /// A state is never updated.
    StateNeverUpdated = "state-never-updated",
    /// A state is never read.
    StateNeverRead = "state-never-read",
    /// A network is never used.
    NetworkNeverUsed = "network-never-used",
    /// The weights of a network get no gradient.
    NetworkWithoutGradient = "network-without-gradient",
    /// The outputs of the Q head do not fit the halting policy.
    QOutputsMismatch = "q-outputs-mismatch",
    /// The optimizer of the puzzle table and the table do not come together.
    PuzzleOptimizerMismatch = "puzzle-optimizer-mismatch",
    /// A `let` is never used.
    UnusedLet = "unused-let",
    /// A block is never used.
    UnusedBlock = "unused-block",
    /// The model never reads the embedded input.
    InputNeverRead = "input-never-read",
    /// The embedded input gets no gradient.
    InputWithoutGradient = "input-without-gradient",
    /// The result of an update is replaced before anything reads it.
    DeadUpdate = "dead-update",
    /// A setting is accepted but has no effect with the others.
    WithoutEffect = "without-effect",
    /// An override on the command line names nothing.
    UnknownPath = "unknown-path",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CODES;

    #[test]
    fn codes_are_kebab_case_and_distinct() {
        let mut seen = BTreeSet::new();
        for code in CODES {
            let text = code.as_str();
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{text}");
            assert!(seen.insert(text), "`{text}` occurs twice");
            assert!(code.explanation().ends_with('.'), "`{text}` is not explained by a sentence");
        }
    }
}
