//! Models of every shape, spelled and read again.

use proptest::{prop_assert_eq, prop_assume, proptest};

use super::testing::{is_idle, models};
use super::{text, tree};
use crate::check::check;
use crate::span::Source;
use crate::syntax::ast::File;
use crate::syntax::{format, parse, to_text};

/// Returns the text form of a tree without places.
fn shape(file: &File) -> String {
    let lines = to_text(file);
    let plain = lines.lines().map(|line| line.rsplit_once(" @").map_or(line, |(head, _)| head));
    plain.collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_specs_come_back_equal_and_canonical() {
    for spec in [
        include_str!("../../specs/maze.hrm"),
        include_str!("../../specs/sudoku.hrm"),
        include_str!("../../specs/sudoku-small.hrm"),
        include_str!("../../specs/quickstart.hrm"),
    ] {
        let model = |text: &str| check(&parse(&Source::new("a.hrm", text)).file).model.expect("it is right");
        let model_of_spec = model(spec);
        let spelled = text(&model_of_spec);
        assert_eq!(model(&spelled), model_of_spec, "{spelled}");
        assert_eq!(format(&Source::new("a.hrm", spelled.as_str())), Ok(spelled));
    }
}

proptest! {
    #[test]
    fn the_text_of_a_model_reads_as_its_tree_and_checks_to_an_equal_model(model in models()) {
        let source = Source::new("spelled.hrm", text(&model));
        let parsed = parse(&source);
        prop_assert_eq!(&parsed.diagnostics, &[]);
        prop_assert_eq!(shape(&parsed.file), shape(&tree(&model)));
        prop_assert_eq!(format(&source), Ok(source.text.clone()), "the layout is the canonical one");
        let checked = check(&parsed.file);
        prop_assume!(!is_idle(&checked.diagnostics));
        prop_assert_eq!(checked.model, Some(model));
    }
}
