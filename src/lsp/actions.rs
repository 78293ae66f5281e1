//! Code actions: the mends of the problems at a place.

use lsp_types::{CodeAction, CodeActionKind, Diagnostic, Range, TextEdit, Uri, WorkspaceEdit};

use super::document::Document;
use crate::diagnostic;
use crate::span::Source;

/// Returns the mends of the problems that a range touches. `shown` is a problem as the editor knows it.
pub(super) fn actions(
    document: &Document,
    uri: &Uri,
    range: Range,
    shown: impl Fn(&Source, &diagnostic::Diagnostic) -> Diagnostic,
) -> Vec<CodeAction> {
    let mut found = Vec::new();
    for (text, problems) in &document.faults {
        for problem in problems.iter().filter(|problem| !problem.mends.is_empty()) {
            let shown = shown(text, problem);
            if shown.range.end < range.start || range.end < shown.range.start {
                continue;
            }
            for mend in &problem.mends {
                let Some(edit) = edit(document, uri, text, mend) else { continue };
                found.push(CodeAction {
                    title: mend.title.clone(),
                    kind: Some(CodeActionKind::QUICKFIX),
                    diagnostics: Some(vec![shown.clone()]),
                    edit: Some(edit),
                    is_preferred: Some(problem.mends.len() == 1),
                    ..CodeAction::default()
                });
            }
        }
    }
    found
}

/// Returns the edit of a mend. There is none of a base: what mends the spec may spoil others.
fn edit(document: &Document, uri: &Uri, text: &Source, mend: &diagnostic::Mend) -> Option<WorkspaceEdit> {
    let (origin, changes) = mend.changes(text)?;
    if (origin.name, origin.text) != (&document.source.name, &document.source.text) {
        return None;
    }
    let edits = changes.into_iter().map(|change| TextEdit {
        range: document.lines.range(&document.source.text, change.span),
        new_text: change.text,
    });
    Some(edit_of([(uri.clone(), edits.collect())]))
}

/// Returns edits of texts as the protocol has them.
pub(super) fn edit_of(changes: impl IntoIterator<Item = (Uri, Vec<TextEdit>)>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(changes.into_iter().collect()), ..WorkspaceEdit::default() }
}
