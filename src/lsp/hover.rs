//! Hover: the text about the word under the pointer, with its type, shape or default.
//!
//! The text about a word of the language is its row in `grammar/REFERENCE.md`; this file adds the form around it.

use super::document::Document;
use super::names::{Definition, Thing, definition_of, definitions, reference, word_at};
use super::place::{CursorPlace, CursorScope, Entries, place_at, section_of};
use super::reference::{KeyRow, REFERENCE};
use crate::check::keys::{self, Choice};
use crate::ir::{self, Mixing, Model, Step};
use crate::lower::parameters::{Role, parameters};
use crate::span::Span;
use crate::spell::integer;
use crate::syntax::{Token, TokenKind, tokens};

/// Returns Markdown about the word at a byte, and the place of the word.
pub(super) fn hover(document: &Document, byte: usize) -> Option<(String, Span)> {
    let words = document.words();
    let word = word_at(&words, byte).filter(|word| word.kind == TokenKind::Name)?;
    let whole = tokens(&document.whole.text);
    // A name of the base is described as one of the text.
    let in_base = || reference(&words, word)?.find(definitions(&whole));
    let text = match definition_of(&words, word).or_else(in_base) {
        Some(definition) => describe(document, &whole, &definition),
        None => explain(&words, word, &place_at(&words, word.span.start), document.model.as_ref())?,
    };
    Some((text, word.span))
}

/// Explains a word of the language.
fn explain(
    words: &[Token<'_>],
    word: Token<'_>,
    place: &CursorPlace<'_>,
    model: Option<&Model>,
) -> Option<String> {
    if let Some((entries, key)) = place.key() {
        let choice = key.choices.iter().find(|choice| choice.name == word.text)?;
        return Some(explain_choice(entries, key.name, choice));
    }
    match &place.scope {
        CursorScope::Entries(entries) => explain_key(entries, word.text),
        CursorScope::Top => REFERENCE.statement(word.text),
        CursorScope::Model if place.item.is_empty() && word.text == keys::PREDICT.name => {
            let what = words.iter().find(|next| next.span.start >= word.span.end)?;
            REFERENCE.statement(&section_of(&keys::PREDICT, what.text))
        }
        CursorScope::Model if place.item.is_empty() => REFERENCE.statement(word.text),
        CursorScope::Model => {
            let key = keys::STATEMENTS.iter().find(|key| Some(key.name) == place.word(0))?;
            let choice = key.choices.iter().find(|choice| choice.name == word.text)?;
            let section = section_of(key, choice.name);
            let entries = Entries { section: section.clone(), word: None, group: choice.group };
            match REFERENCE.key(&section, None, choice.name) {
                Some(row) => Some(format!("`{} {}`: {}", key.name, choice.name, row.value)),
                None => Some(explain_choice(&entries, key.name, choice)),
            }
        }
        CursorScope::Steps if word.text == "repeat" => REFERENCE.statement("segment"),
        CursorScope::Operands if word.text == "x" => {
            let shape = model.map_or(String::new(), |model| format!(" = `{}`", shape(model)));
            Some(format!(
                "`x`: `[B, P + S, D]`{shape}\n\nthe embedded input: prefix, tokens and, if learned, positions"
            ))
        }
        _ => None,
    }
}

/// Explains a key with what it may be and what it is if it is left out.
pub(super) fn explain_key(entries: &Entries, key: &str) -> Option<String> {
    let row = REFERENCE.key(&entries.section, entries.word, key)?;
    Some(format!("`{key}` of {}: {}", entries.group.title, explain_row(row)))
}

fn explain_row(row: &KeyRow) -> String {
    match &row.default {
        Some(default) => format!("{}\n\ndefault: {default}", row.value),
        None => format!("{}\n\nno default", row.value),
    }
}

/// Explains a word that a key may be, with its settings.
pub(super) fn explain_choice(entries: &Entries, key: &str, choice: &Choice) -> String {
    let mut text = format!("`{key} = {}`", choice.name);
    if let Some(row) = REFERENCE.key(&entries.section, entries.word, key) {
        text.push_str(&format!("\n\n{}", row.value));
    }
    for setting in choice.group.keys {
        if let Some(row) = REFERENCE.key(&entries.section, Some(choice.name), setting.name) {
            let default =
                row.default.as_ref().map_or(String::new(), |default| format!(" (default {default})"));
            text.push_str(&format!("\n- `{}`: {}{default}", setting.name, row.value));
        }
    }
    text
}

/// Describes what a name stands for.
fn describe(document: &Document, words: &[Token<'_>], definition: &Definition<'_>) -> String {
    let name = definition.name;
    let model = document.model.as_ref();
    match definition.thing {
        Thing::Let => match document.lets.get(name) {
            Some(value) => format!("`let {name}` = {value}"),
            None => format!("`let {name}`"),
        },
        Thing::Model => {
            let count = model.map_or(String::new(), |model| {
                let trained = elements(model, |parameter| parameter.role == Role::Trained);
                format!(": {} parameters, puzzle vectors left out", integer(trained))
            });
            format!("`model {name}`{count}")
        }
        Thing::State => model
            .and_then(|model| describe_state(model, name))
            .unwrap_or_else(|| format!("`state {name}`: `[B, P + S, D]`")),
        Thing::Network => model
            .and_then(|model| describe_network(model, name))
            .unwrap_or_else(|| format!("`network {name}`: from `[B, P + S, D]` to `[B, P + S, D]`")),
        Thing::Block => model
            .and_then(|model| describe_block(model, words, name))
            .unwrap_or_else(|| format!("`block {name}`: from `[B, P + S, D]` to `[B, P + S, D]`")),
        Thing::Loop => model
            .and_then(|model| find_loop(&model.segment, name))
            .map_or_else(|| format!("loop `{name}`"), |repeat| describe_loop(name, repeat)),
    }
}

/// Returns the shape of every state in figures.
pub(super) fn shape(model: &Model) -> String {
    format!("[B, {}, {}]", integer(model.total_positions()), integer(model.hidden))
}

/// Returns the number of elements of some parameters.
pub(super) fn elements(
    model: &Model,
    wanted: impl Fn(&crate::lower::parameters::Parameter) -> bool,
) -> usize {
    parameters(model, 1).iter().filter(|parameter| wanted(parameter)).map(|one| one.elements()).sum()
}

fn times(count: usize) -> String {
    match count {
        0 => "never".to_string(),
        1 => "once".to_string(),
        _ => format!("{} times", integer(count)),
    }
}

fn describe_state(model: &Model, name: &str) -> Option<String> {
    let index = model.states.iter().position(|state| state.name == name)?;
    let state = &model.states[index];
    let unrolled = ir::unroll(model);
    let updates = unrolled.iter().filter(|one| one.update.state.0 == index);
    let differentiated = updates.clone().filter(|one| one.differentiated).count();
    Some(format!(
        "`state {name}`: `[B, P + S, D]` = `{}`\n\nbegins as one vector from a normal distribution, std {:?} and \
         cut at {:?}; stored as `{}`\n\nupdated {} in a segment, differentiated {}",
        shape(model),
        state.init.std,
        state.init.truncate,
        state.stored_as,
        times(updates.count()),
        times(differentiated),
    ))
}

fn describe_network(model: &Model, name: &str) -> Option<String> {
    let index = model.networks.iter().position(|network| network.name == name)?;
    let network = &model.networks[index];
    let unrolled = ir::unroll(model);
    let uses = unrolled.iter().filter(|one| one.update.network.0 == index);
    let differentiated = uses.clone().filter(|one| one.differentiated).count();
    Some(format!(
        "`network {name}`: from `{0}` to `{0}`\n\n{1} parameters in {2} of {3}; stored as `{4}`\n\nruns {5} in a \
         segment, differentiated {6}",
        shape(model),
        integer(elements(model, |parameter| parameter.network.as_deref() == Some(name))),
        counted(network.layers, "block"),
        integer(
            elements(model, |parameter| parameter.network.as_deref() == Some(name)) / network.layers.max(1)
        ),
        network.stored_as,
        times(uses.count()),
        times(differentiated),
    ))
}

/// Returns a count with its noun.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", integer(count))
}

/// Returns the first network that is a stack of a block.
pub(super) fn network_of_block<'m>(
    model: &'m Model,
    words: &[Token<'_>],
    name: &str,
) -> Option<&'m ir::Network> {
    let network = definitions(words).into_iter().find(|definition| {
        let behind = words.iter().skip_while(|word| word.span.start <= definition.span.start);
        let mut value = behind.take_while(|word| word.kind != TokenKind::Newline);
        definition.thing == Thing::Network && value.any(|word| word.text == name)
    })?;
    model.networks.iter().find(|one| one.name == network.name)
}

fn describe_block(model: &Model, words: &[Token<'_>], name: &str) -> Option<String> {
    let network = network_of_block(model, words, name)?;
    let block = &network.block;
    let mixing = match &block.mixing {
        Mixing::Attention { heads, rope_theta } => {
            let width = integer(model.hidden / heads.max(&1));
            let rope = rope_theta.map_or(String::new(), |theta| format!(", rotation with theta {theta}"));
            format!("attention with {} heads of width {width}{rope}", integer(*heads))
        }
        Mixing::Mlp { inner } => format!("a gated unit of width {} over the positions", integer(*inner)),
    };
    let own = elements(model, |parameter| parameter.network.as_ref() == Some(&network.name));
    Some(format!(
        "`block {name}`: from `{0}` to `{0}`\n\n{mixing}; a gated unit of width {1}; {2} parameters",
        shape(model),
        integer(block.inner),
        integer(own / network.layers.max(1)),
    ))
}

fn find_loop<'a>(steps: &'a [Step], label: &str) -> Option<&'a ir::Repeat> {
    steps.iter().find_map(|step| match step {
        Step::Update(_) => None,
        Step::Repeat(repeat) if repeat.label.as_deref() == Some(label) => Some(repeat),
        Step::Repeat(repeat) => find_loop(&repeat.body, label),
    })
}

fn describe_loop(name: &str, repeat: &ir::Repeat) -> String {
    fn updates(steps: &[Step]) -> usize {
        steps
            .iter()
            .map(|step| match step {
                Step::Update(_) => 1,
                Step::Repeat(repeat) => repeat.count * updates(&repeat.body),
            })
            .sum()
    }
    let each = updates(&repeat.body);
    let noun = if each == 1 { "update" } else { "updates" };
    format!("loop `{name}`: runs {}, with {} {noun} in each", times(repeat.count), integer(each))
}
