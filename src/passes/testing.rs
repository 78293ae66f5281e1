//! What the tests of the passes share.

use crate::graph::{Graph, TensorType, Value, to_text, validate};

/// Returns the f32 input of this name and shape.
pub(super) fn input(graph: &mut Graph, name: &str, shape: &[usize]) -> Value {
    graph.input(name, TensorType::f32(shape))
}

fn run(pass: fn(&mut Graph), build: impl FnOnce(&mut Graph)) -> [String; 2] {
    let mut graph = Graph::new();
    build(&mut graph);
    assert_eq!(validate(&graph), Ok(()), "before the pass");
    let before = to_text(&graph);
    pass(&mut graph);
    assert_eq!(validate(&graph), Ok(()), "after the pass");
    [before, to_text(&graph)]
}

/// Records a graph before and after `pass`, under the fact that the case shows.
pub(super) fn shows(fact: &str, pass: fn(&mut Graph), build: impl FnOnce(&mut Graph)) {
    let [before, after] = run(pass, build);
    assert_ne!(before, after, "the pass does something");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/passes");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
        .bind(|| insta::assert_snapshot!(fact, format!("{before}\n---------- after ----------\n\n{after}")));
}

/// Panics if `pass` changes the graph.
#[track_caller]
pub(super) fn leaves_alone(pass: fn(&mut Graph), build: impl FnOnce(&mut Graph)) {
    let [before, after] = run(pass, build);
    assert_eq!(before, after);
}
