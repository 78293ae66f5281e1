//! `hrmc help`: subcommands and diagnostic codes.

use clap::Args;

use super::failure::Failure;
use super::project::Devices;
use super::{terminal, unknown};
use crate::diagnostic::{Appearance, CODES, Code, Example, render};
use crate::shell;
use crate::span::Source;
use crate::spec;
use crate::syntax::{self, nearest};

const EXAMPLES: &str = "\
Examples:
  hrmc help                list the subcommands
  hrmc help run            show the help of one subcommand
  hrmc help data sudoku
  hrmc help head-width     explain the error of this code
  hrmc help --codes        list every code";

/// Name of the file in examples.
const EXAMPLE_NAME: &str = "tiny.hrm";
/// Longest line of an example that is shown in full.
const WIDTH: usize = 100;

/// Show the help of a subcommand, or explain an error by its code.
///
/// The code of an error or a warning stands between brackets: `error[head-width]`. Its page explains the code,
/// shows a spec that has the error, and the same spec without it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A subcommand, or the code of an error
    #[arg(value_name = "SUBCOMMAND|CODE")]
    topic: Vec<String>,
    /// List every code of an error or a warning
    #[arg(long, conflicts_with = "topic")]
    codes: bool,
}

/// Runs `hrmc help`.
///
/// # Errors
///
/// Returns a failure if there is no such subcommand or code.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    if arguments.codes {
        return terminal::print(codes());
    }
    if let [topic] = arguments.topic.as_slice()
        && let Some(code) = Code::from_text(&normal(topic))
    {
        return terminal::print(page(code));
    }
    let mut command = super::command_with(devices);
    // Usage lines and flags that all subcommands share are filled in.
    command.build();
    let mut found = &mut command;
    for (depth, topic) in arguments.topic.iter().enumerate() {
        if found.find_subcommand(topic).is_none() {
            return Err(Failure::message(unknown(topic, found, depth == 0)));
        }
        found = found.find_subcommand_mut(topic).expect("it was found before");
    }
    terminal::print(format_args!("{}\n", found.render_long_help().ansi().to_string().trim_end()))
}

/// Returns a code in the spelling of the catalog, without the brackets around it in messages.
fn normal(topic: &str) -> String {
    let topic = topic.trim_start_matches("error").trim_start_matches("warning");
    topic.trim_matches(['[', ']', ':', '`']).to_lowercase().replace('_', "-")
}

fn unknown(topic: &str, command: &clap::Command, is_first: bool) -> String {
    if let Some(answer) = unknown::answer(topic).filter(|_| is_first) {
        return format!("there is no subcommand `{topic}`; {answer}");
    }
    let subcommands = command.get_subcommands().map(clap::Command::get_name);
    let codes = CODES.iter().map(|code| code.as_str()).filter(|_| is_first);
    let what = match is_first {
        true => "there is no subcommand or code".to_string(),
        false => format!("`hrmc {}` has no subcommand", command.get_name()),
    };
    let candidates: Vec<&str> = subcommands.chain(codes).collect();
    let suggestion = match nearest(&normal(topic), candidates) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => "`hrmc help` lists the subcommands, `hrmc help --codes` the codes".to_string(),
    };
    format!("{what} `{topic}`; {suggestion}")
}

fn codes() -> String {
    let width = CODES.iter().map(|code| code.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for code in CODES {
        text.push_str(&format!("{:width$}  {}\n", code.as_str(), code.explanation()));
    }
    text.push_str("\n`hrmc help CODE` explains one of them, with an example.\n");
    text
}

fn page(code: Code) -> String {
    let page = code.page();
    let mut text = format!("{}\n\n{}\n\n", terminal::heading(code.as_str()), code.explanation());
    text.push_str(&format!("{}\n\n{}\n\n", page.about, terminal::heading("For example")));
    text.push_str(&indented(page.wrong.spec));
    for file in &page.wrong.files {
        text.push_str(&format!("\nwith `{}`:\n\n{}", file.name, indented(file.text)));
    }
    text.push_str(&format!("\n{}\n\n", terminal::heading(&format!("`{}` says", command(&page.wrong)))));
    text.push_str(&indented(&said(&page.wrong)));
    text.push_str(&format!("\n{}\n\n{}\n\n", terminal::heading("Mended"), page.mending));
    text.push_str(&indented(page.mended.spec));
    if !page.mended.overrides.is_empty() {
        text.push_str(&format!("\n`{}` says nothing.\n", command(&page.mended)));
    }
    text
}

/// Returns the command line that checks an example.
fn command(example: &Example) -> String {
    let overrides = example.overrides.iter().map(|value| format!(" --set {}", shell::word(value)));
    format!("hrmc check {EXAMPLE_NAME}{}", overrides.collect::<String>())
}

/// Returns the output of checking an example.
fn said(example: &Example) -> String {
    let source = Source::new(EXAMPLE_NAME, example.spec);
    let whole = match example.files.first() {
        Some(file) => syntax::merge_base(&Source::new(file.name, file.text), &source),
        None => Ok(source.clone()),
    };
    let said = match whole {
        Ok(whole) => {
            let overrides: Vec<String> = example.overrides.iter().map(ToString::to_string).collect();
            spec::examine_whole(whole, &overrides).diagnostics
        }
        Err(problems) => vec![(source, problems)],
    };
    said.iter().map(|(source, found)| render(source, found, Appearance::Coloured)).collect()
}

/// Returns the text indented, with very long lines cut.
fn indented(text: &str) -> String {
    let mut moved = String::new();
    for line in text.trim_end().lines() {
        if !line.is_empty() {
            moved.push_str("    ");
        }
        match line.char_indices().nth(WIDTH) {
            // Escape sequences count too, so only lines that are far too long are cut.
            Some((end, _)) if line.len() > 2 * WIDTH => {
                moved.push_str(&line[..end]);
                moved.push_str("…\u{1b}[0m");
            }
            _ => moved.push_str(line),
        }
        moved.push('\n');
    }
    moved
}
