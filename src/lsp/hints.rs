//! Inlay hints: shapes and sizes that a spec decides without writing them.

use super::document::Document;
use super::hover::{counted, elements, network_of_block, shape};
use crate::ir::{Mixing, Model};
use crate::lower::parameters::Role;
use crate::span::Span;
use crate::spell::integer;
use crate::syntax::ast::{ExprKind, StatementKind};
use crate::syntax::{parse, tokens};

/// Returns what is shown behind bytes of a text, between others or with them; nothing as long as the text has errors.
pub(super) fn hints(document: &Document, within: Span) -> Vec<(usize, String)> {
    let Some(model) = document.current_model() else { return Vec::new() };
    let whole = tokens(&document.whole.text);
    let file = parse(&document.source).file;
    let mut found = Vec::new();
    for tree in file.models() {
        let trained = elements(model, |parameter| parameter.role == Role::Trained);
        found.push((tree.name.span.end, format!(": {} parameters", integer(trained))));
        for statement in &tree.statements {
            match &statement.kind {
                StatementKind::Let(definition) => {
                    let value = document.lets.get(&definition.name.text);
                    if let (Some(value), false) =
                        (value, matches!(definition.value.kind, ExprKind::Number(_)))
                    {
                        found.push((statement.span.end, format!(" = {value}")));
                    }
                }
                StatementKind::Block(section) => {
                    let name = &section.name.text;
                    let network = network_of_block(model, &whole, name);
                    if let Some(network) = network {
                        let count = parameters_of(model, &network.name) / network.layers.max(1);
                        let mixing = match &network.block.mixing {
                            Mixing::Attention { heads, .. } => {
                                let width = integer(model.hidden / heads.max(&1));
                                format!("{} of width {width}", counted(*heads, "head"))
                            }
                            Mixing::Mlp { inner } => format!("a mixer of width {}", integer(*inner)),
                        };
                        let text = format!(
                            ": {mixing}, a gated unit of width {}, {} parameters",
                            integer(network.block.inner),
                            integer(count)
                        );
                        found.push((section.name.span.end, text));
                    }
                }
                StatementKind::Network(definition) => {
                    let name = &definition.name;
                    if let Some(network) = model.networks.iter().find(|one| one.name == name.text) {
                        let count = integer(parameters_of(model, &network.name));
                        let text = format!(": {}, {count} parameters", counted(network.layers, "block"));
                        found.push((name.span.end, text));
                    }
                }
                StatementKind::State(state) => {
                    if let Some(last) = state.names.last() {
                        found.push((last.span.end, format!(": {}", shape(model))));
                    }
                }
                _ => {}
            }
        }
    }
    found.retain(|(byte, _)| within.start <= *byte && *byte <= within.end);
    found
}

fn parameters_of(model: &Model, network: &str) -> usize {
    elements(model, |parameter| parameter.network.as_deref() == Some(network))
}
