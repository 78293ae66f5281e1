//! A scripted editor that talks to `hrmc lsp` over its standard input and output.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::HRMC;

/// Longest wait for one message. Answers take milliseconds; a machine under load may take more.
const PATIENCE: Duration = Duration::from_secs(30);

const URI: &str = "file:///specs/two.hrm";

const SPEC: &str = "\
# Zwei Ebenen: 𝒟 = 16.
model two {
  let N = 2

  tokens  { vocab = 6, positions = 16 }
  puzzles { width = 16 }

  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }

  network low  = 2 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1)

  segment {
    cycle: repeat N {
      z_low  <- low(z_low + z_high + x)
      z_high <- high(z_high + z_low)
    }
  }
  gradient last cycle

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 2 }
}
";

/// An editor.
struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    /// What the server says, as it says it.
    messages: Receiver<Value>,
    last_id: i64,
}

impl Drop for Editor {
    fn drop(&mut self) {
        // A test that failed leaves no process behind. One that ended already cannot be killed, which is fine.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Editor {
    /// Starts a server without a word.
    fn silent() -> Editor {
        let mut server = Command::new(HRMC)
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let input = server.stdin.take();
        let mut output = BufReader::new(server.stdout.take().expect("it is piped"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Editor { server, input, messages, last_id: 0 }
    }

    /// Starts a server and greets it.
    fn start() -> Editor {
        let mut editor = Editor::silent();
        let answer =
            editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
        assert_eq!(answer["serverInfo"]["name"], "hrmc");
        for capability in [
            "hoverProvider",
            "completionProvider",
            "definitionProvider",
            "documentFormattingProvider",
            "codeActionProvider",
            "referencesProvider",
            "renameProvider",
            "inlayHintProvider",
        ] {
            assert!(!answer["capabilities"][capability].is_null(), "`{capability}` is missing: {answer}");
        }
        editor.tell("initialized", json!({}));
        editor
    }

    /// Starts a server and opens a text; returns what the server finds wrong with it.
    fn open(text: &str) -> (Editor, Vec<Value>) {
        let mut editor = Editor::start();
        let document = json!({ "uri": URI, "languageId": "hrm", "version": 1, "text": text });
        editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
        let found = editor.diagnostics(1);
        (editor, found)
    }

    fn write(&mut self, message: &Value) {
        let text = message.to_string();
        let input = self.input.as_mut().expect("the input is open");
        write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server reads");
        input.flush().expect("the server reads");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn next(&mut self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("the server answers in time")
    }

    /// Asks and returns the whole answer.
    fn ask_whole(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.next();
        assert_eq!(answer["id"], id, "the answer to `{method}`: {answer}");
        answer
    }

    /// Asks and returns the result.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask_whole(method, params);
        assert!(answer["error"].is_null(), "`{method}` fails: {answer}");
        answer["result"].clone()
    }

    /// Waits for what the server finds wrong with a version of the text.
    fn diagnostics(&mut self, version: i64) -> Vec<Value> {
        let message = self.next();
        assert_eq!(message["method"], "textDocument/publishDiagnostics", "{message}");
        assert_eq!(message["params"]["uri"], URI);
        assert_eq!(message["params"]["version"], version);
        message["params"]["diagnostics"].as_array().expect("it is a list").clone()
    }

    /// Replaces the text; returns what the server finds wrong with it.
    fn change(&mut self, version: i64, text: &str) -> Vec<Value> {
        let document = json!({ "uri": URI, "version": version });
        let changes = json!([{ "text": text }]);
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
        self.diagnostics(version)
    }

    /// Asks about the place of `|` in a text that holds it; the server has the text without it.
    fn ask_at(&mut self, method: &str, line: u32, character: u32) -> Value {
        let position = json!({ "line": line, "character": character });
        self.ask(method, json!({ "textDocument": { "uri": URI }, "position": position }))
    }

    /// Returns the actions for a range of the text.
    fn actions(&mut self, range: &Value) -> Vec<Value> {
        let params =
            json!({ "textDocument": { "uri": URI }, "range": range, "context": { "diagnostics": [] } });
        self.ask("textDocument/codeAction", params).as_array().expect("it is a list").clone()
    }

    /// Asks to rename what stands at a place of a text; returns the whole answer.
    fn rename(&mut self, uri: &str, (line, character): (u32, u32), new: &str) -> Value {
        let position = json!({ "line": line, "character": character });
        let params = json!({ "textDocument": { "uri": uri }, "position": position, "newName": new });
        self.ask_whole("textDocument/rename", params)
    }

    /// Returns the Markdown about the `nth` occurrence of a word in [`SPEC`].
    fn hover(&mut self, word: &str, nth: usize) -> String {
        let (line, character) = place(SPEC, word, nth);
        let hover = self.ask_at("textDocument/hover", line, character);
        let start = &hover["range"]["start"];
        assert_eq!(
            (start["line"].as_u64(), start["character"].as_u64()),
            (Some(line.into()), Some(character.into()))
        );
        hover["contents"]["value"].as_str().unwrap_or_else(|| panic!("nothing on `{word}`")).to_string()
    }

    /// Returns the labels that are offered at the end of `text`, which becomes the text of the document.
    fn offered(&mut self, version: i64, text: &str) -> Vec<String> {
        self.change(version, text);
        let line = u32::try_from(text.matches('\n').count()).expect("it is short");
        let last = text.rsplit('\n').next().unwrap_or_default();
        let character = u32::try_from(last.encode_utf16().count()).expect("it is short");
        let items = self.ask_at("textDocument/completion", line, character);
        let label = |item: &Value| item["label"].as_str().expect("it has a label").to_string();
        items.as_array().expect("it is a list").iter().map(label).collect()
    }

    /// Shuts the server down and returns how it ended.
    fn shut_down(mut self) -> ExitStatus {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        self.end()
    }

    /// Closes the input and waits for the server to end.
    fn end(&mut self) -> ExitStatus {
        self.input = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.server.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn said_on_standard_error(&mut self) -> String {
        let mut text = String::new();
        let stream = self.server.stderr.as_mut().expect("it is piped");
        stream.read_to_string(&mut text).expect("the server writes UTF-8");
        text
    }
}

/// Reads one message, or nothing at the end.
fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length?];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Returns a text after edits, as an editor makes them.
fn edited(text: &str, edits: &Value) -> String {
    let byte = |position: &Value| {
        let number = |key: &str| position[key].as_u64().expect("a position has numbers");
        let lines = text.split_inclusive('\n').take(usize::try_from(number("line")).expect("it is small"));
        let start: usize = lines.map(str::len).sum();
        let mut units = number("character");
        let behind = text[start..].chars().take_while(|c| {
            let before = units;
            units = units.saturating_sub(c.len_utf16() as u64);
            before > 0
        });
        start + behind.map(char::len_utf8).sum::<usize>()
    };
    let mut edits: Vec<(usize, usize, &str)> = edits
        .as_array()
        .expect("edits are a list")
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            (byte(&range["start"]), byte(&range["end"]), edit["newText"].as_str().expect("it is text"))
        })
        .collect();
    edits.sort_unstable();
    let mut text = text.to_string();
    for (start, end, new) in edits.into_iter().rev() {
        text.replace_range(start..end, new);
    }
    text
}

/// Returns line and UTF-16 unit of the `nth` occurrence of a word, both counted from 0.
fn place(text: &str, word: &str, nth: usize) -> (u32, u32) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = text.match_indices(word).filter(|(at, _)| {
        !text[..*at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    });
    let at = found.nth(nth).unwrap_or_else(|| panic!("`{word}` is not there")).0;
    let line = text[..at].matches('\n').count();
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let units = text[start..at].encode_utf16().count();
    (u32::try_from(line).expect("it is short"), u32::try_from(units).expect("it is short"))
}

#[test]
fn a_server_starts_and_ends_as_the_protocol_says() {
    let (editor, found) = Editor::open(SPEC);
    assert_eq!(found, Vec::<Value>::new());
    assert!(editor.shut_down().success());
}

#[test]
fn problems_are_reported_as_they_come_and_go() {
    let (mut editor, _) = Editor::open(SPEC);
    let broken = SPEC.replace("heads = 2", "heads = 3").replace("vocab = 6", "vocap = 6");
    let found = editor.change(2, &broken);
    let codes: Vec<&str> = found.iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, ["unknown-key", "head-width"], "{found:?}");
    let (line, character) = place(&broken, "vocap", 0);
    assert_eq!(found[0]["range"]["start"], json!({ "line": line, "character": character }));
    assert_eq!(found[0]["range"]["end"], json!({ "line": line, "character": character + 5 }));
    assert_eq!((&found[0]["severity"], &found[0]["source"]), (&json!(1), &json!("hrmc")));
    assert!(found[0]["message"].as_str().is_some_and(|text| text.contains("help: did you mean `vocab`?")));
    let related = &found[1]["relatedInformation"][0];
    assert_eq!(related["message"], "the width");
    assert_eq!(related["location"]["uri"], URI);
    assert_eq!(editor.change(3, SPEC), Vec::<Value>::new());
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    let message = editor.next();
    assert_eq!(message["params"]["diagnostics"], json!([]), "a closed text has no problems");
}

#[test]
fn warnings_are_no_errors() {
    let (_editor, found) = Editor::open(&SPEC.replace("  let N = 2\n", "  let N = 2\n  let M = 3\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["code"], &found[0]["severity"]), (&json!("unused-let"), &json!(2)));
}

#[test]
fn places_are_counted_in_utf16_units() {
    let text = SPEC.replace("# Zwei Ebenen: 𝒟 = 16.\nmodel two {", "model two { \"𝒟é\" = 1\n");
    let (_editor, found) = Editor::open(&text);
    let first = found.first().expect("a string is no statement");
    assert_eq!(first["range"]["start"], json!({ "line": 0, "character": 12 }), "{found:?}");
    let text = SPEC.replace("vocab = 6", "vocab = 6, \"𝒟é\"");
    let (mut editor, _) = Editor::open(&text);
    // `𝒟` takes two units, so the key behind the string is found where the editor sees it.
    let (line, character) = place(&text, "positions", 0);
    let found = editor.change(2, &text.replace("\"𝒟é\"", "\"𝒟é\" vocab"));
    assert!(!found.is_empty());
    editor.change(3, &text);
    let hover = editor.ask_at("textDocument/hover", line, character);
    assert_eq!(hover["range"]["start"]["character"], character, "{hover}");
}

#[test]
fn hover_shows_types_shapes_and_defaults() {
    let (mut editor, _) = Editor::open(SPEC);
    for (word, nth, parts) in [
        (
            "z_low",
            0,
            ["`state z_low`: `[B, P + S, D]` = `[B, 17, 16]`", "updated 2 times in a segment"].as_slice(),
        ),
        ("z_low", 2, &["`state z_low`", "differentiated once", "std 1.0"]),
        ("low", 1, &["`network low`", "3_584 parameters in 2 blocks of 1_792", "stored as `L_level`"]),
        ("encoder", 1, &["`block encoder`", "2 heads of width 8", "1_792 parameters"]),
        ("N", 1, &["`let N` = 2"]),
        ("cycle", 1, &["loop `cycle`: runs 2 times, with 2 updates in each"]),
        ("x", 0, &["`x`: `[B, P + S, D]` = `[B, 17, 16]`"]),
        ("vocab", 0, &["`vocab` of `tokens`: integer, at least 2", "no default"]),
        ("width", 0, &["`width` of `puzzles`"]),
        ("width", 1, &["`width` of `swiglu`: integer"]),
        ("std", 0, &["`std` of `normal`", "default: 1"]),
        ("bias", 0, &["`bias` of `predict q`: number", "default: -5"]),
        ("max_segments", 0, &["`max_segments` of `q_learning`"]),
        ("swiglu", 0, &["`mlp = swiglu`", "- `multiple_of`: integer", "(default 256)"]),
        ("q_learning", 0, &["`halt q_learning`: stops when `halt > continue`"]),
        ("gradient", 0, &["Which updates are differentiated."]),
        ("predict", 1, &["A linear head with bias from one position"]),
        ("segment", 0, &["One forward pass"]),
        ("two", 0, &["`model two`: ", " parameters"]),
    ] {
        let text = editor.hover(word, nth);
        for part in parts {
            assert!(text.contains(part), "`{part}` is missing on `{word}` {nth}: {text}");
        }
    }
    let (line, _) = place(SPEC, "Zwei", 0);
    assert_eq!(editor.ask_at("textDocument/hover", line, 4), Value::Null, "comments mean nothing");
}

#[test]
fn figures_stay_while_an_edit_is_under_way() {
    let (mut editor, _) = Editor::open(SPEC);
    assert_ne!(
        editor.change(2, &SPEC.replace("  gradient last cycle\n", "  gradient last\n")),
        Vec::<Value>::new()
    );
    let text = editor.hover("z_low", 0);
    assert!(text.contains("`[B, 17, 16]`"), "{text}");
}

#[test]
fn completion_offers_what_may_stand_there() {
    let (mut editor, _) = Editor::open(SPEC);
    let head = SPEC.split("  gradient").next().expect("splitting yields a first part");
    for (version, (text, expected)) in (2..).zip([
        ("", ["base", "model", "train"].as_slice()),
        ("model m { tokens { ", &["vocab", "positions", "without"]),
        ("model m { tokens { vocab = 6, po", &["positions", "without"]),
        ("model m { tokens { without vo", &["vocab", "positions"]),
        ("model m { block b { positions = ", &["rope", "learned", "none"]),
        ("model m { block b { positions = rope(", &["theta"]),
        ("model m {\n  halt ", &["q_learning", "bce", "fixed"]),
        ("train { loss = ", &["stablemax", "softmax"]),
        ("train { eval_every = 5 ", &["epochs", "steps"]),
        ("train { # loss = ", &[]),
        ("train { data = \"a", &[]),
    ]) {
        let found = editor.offered(version, text);
        let names: Vec<&str> = found.iter().map(String::as_str).collect();
        match text {
            // The table decides which policies there are.
            "model m {\n  halt " => assert!(expected.iter().all(|one| names.contains(one)), "{names:?}"),
            "" => assert!(expected.iter().all(|one| names.contains(one)), "{names:?}"),
            _ => assert_eq!(names, expected, "{text}"),
        }
    }
    for (version, (text, expected)) in (20..).zip([
        ("  gradient last ", ["cycle", "N"].as_slice()),
        ("  predict tokens from ", &["z_low", "z_high"]),
        ("  predict q from z_high[0] { outputs = (", &["halt", "continue"]),
        ("  network third = 2 * ", &["encoder", "N"]),
        ("  segment { ", &["z_low", "z_high", "repeat"]),
        ("  segment { z_low <- ", &["low", "high"]),
        ("  segment { z_low <- low(z_low + ", &["z_low", "z_high", "x"]),
        ("  block other { heads = ", &["N"]),
    ]) {
        let mut found = editor.offered(version, &format!("{head}{text}"));
        found.sort();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
    let statements = editor.offered(40, &format!("{head}  "));
    for keyword in hrmc::internals::syntax::STATEMENT_KEYWORDS {
        assert!(statements.iter().any(|label| label == keyword), "`{keyword}` is missing: {statements:?}");
    }
}

#[test]
fn definitions_are_found() {
    let (mut editor, _) = Editor::open(SPEC);
    for (word, used, defined) in
        [("z_high", 1, 0), ("low", 1, 0), ("encoder", 2, 0), ("N", 1, 0), ("cycle", 1, 0), ("two", 0, 0)]
    {
        let (line, character) = place(SPEC, word, used);
        // An editor asks about the place behind the last character of a word, too.
        for behind in [0, u32::try_from(word.len()).expect("it is short")] {
            let found = editor.ask_at("textDocument/definition", line, character + behind);
            let (line, character) = place(SPEC, word, defined);
            assert_eq!(found["uri"], URI, "{word}");
            assert_eq!(found["range"]["start"], json!({ "line": line, "character": character }), "{word}");
        }
    }
    let (line, character) = place(SPEC, "vocab", 0);
    assert_eq!(editor.ask_at("textDocument/definition", line, character), Value::Null, "keys have none");
}

#[test]
fn names_are_listed() {
    let (mut editor, _) = Editor::open(SPEC);
    let found = editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": URI } }));
    let names: Vec<&str> =
        found.as_array().expect("it is a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["two", "N", "encoder", "low", "high", "z_low", "z_high", "cycle"]);
}

#[test]
fn formatting_yields_the_canonical_layout() {
    let messy = SPEC.replace("  let N = 2", "let   N=2").replace("heads = 2", "heads=2");
    let (mut editor, _) = Editor::open(&messy);
    let options = json!({ "tabSize": 2, "insertSpaces": true });
    let params = json!({ "textDocument": { "uri": URI }, "options": options });
    let edits = editor.ask("textDocument/formatting", params.clone());
    let formatted = edits[0]["newText"].as_str().expect("there is an edit");
    let expected =
        hrmc::internals::syntax::format(&hrmc::internals::span::Source::new("two.hrm", messy.as_str()));
    assert_eq!(Ok(formatted.to_string()), expected);
    let end = json!({ "line": messy.matches('\n').count(), "character": 0 });
    assert_eq!(edits[0]["range"], json!({ "start": { "line": 0, "character": 0 }, "end": end }));
    editor.change(2, formatted);
    assert_eq!(editor.ask("textDocument/formatting", params.clone()), json!([]), "it is laid out already");
    editor.change(3, "model m {");
    assert_eq!(editor.ask("textDocument/formatting", params), Value::Null, "it does not follow the grammar");
}

#[test]
fn a_spec_over_a_base_knows_what_the_base_says() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str| {
        let path = fs::canonicalize(folder.path()).expect("it is there").join(name);
        format!("file://{}", path.display())
    };
    fs::write(folder.path().join("two.hrm"), SPEC).expect("the folder can be written");
    let text = "base \"two.hrm\"\n\nmodel three {\n  let N = 3\n\n  predict tokens from z_low\n}\n";
    let uri = file("three.hrm");
    let mut editor = Editor::start();
    let document = |uri: &str, version: i64, text: &str| json!({ "textDocument": { "uri": uri, "languageId": "hrm", "version": version, "text": text } });
    let ask = |editor: &mut Editor, method: &str, (line, character): (u32, u32)| {
        let position = json!({ "line": line, "character": character });
        editor.ask(method, json!({ "textDocument": { "uri": uri }, "position": position }))
    };
    editor.tell("textDocument/didOpen", document(&uri, 1, text));
    assert_eq!(editor.next()["params"]["diagnostics"], json!([]));

    let hover = ask(&mut editor, "textDocument/hover", place(text, "z_low", 0));
    let said = hover["contents"]["value"].as_str().expect("it is text");
    assert!(said.contains("`[B, 17, 16]`") && said.contains("updated 3 times"), "{said}");
    let found = ask(&mut editor, "textDocument/definition", place(text, "z_low", 0));
    let (line, character) = place(SPEC, "z_low", 0);
    assert_eq!(found["uri"], file("two.hrm"));
    assert_eq!(found["range"]["start"], json!({ "line": line, "character": character }));
    let found = ask(&mut editor, "textDocument/definition", (0, 8));
    assert_eq!(found["uri"], file("two.hrm"), "the path of the base leads to the file");
    let (line, character) = place(text, "z_low", 0);
    let offered = ask(&mut editor, "textDocument/completion", (line, character));
    assert_eq!(offered[0]["label"], "z_low", "states of the base may be read");

    // An open base counts as it stands in the editor.
    let broken = SPEC.replace("heads = 2", "heads = 3");
    editor.tell("textDocument/didOpen", document(&file("two.hrm"), 1, &broken));
    let (first, second) = (editor.next(), editor.next());
    assert_eq!((&first["params"]["uri"], &second["params"]["uri"]), (&json!(file("two.hrm")), &json!(uri)));
    let problem = &second["params"]["diagnostics"][0];
    assert_eq!(problem["range"]["start"], json!({ "line": 0, "character": 5 }), "{problem}");
    let message = problem["message"].as_str().expect("it is text");
    assert!(message.contains("two.hrm`: 3 heads do not divide the width 16"), "{message}");
    assert_eq!(problem["relatedInformation"][0]["location"]["uri"], file("two.hrm"));
    assert_eq!(
        first["params"]["diagnostics"][0]["range"],
        problem["relatedInformation"][0]["location"]["range"]
    );

    // A slip hides neither what is wrong with the rest nor what is wrong with the base.
    let slip = text.replace("let N = 3", "let = 3\n  state z_high = normal(std = 0)");
    let identifier = json!({ "uri": uri, "version": 2 });
    let change = json!({ "textDocument": identifier, "contentChanges": [{ "text": slip }] });
    editor.tell("textDocument/didChange", change);
    let published = editor.next();
    let problems = published["params"]["diagnostics"].as_array().expect("it is a list");
    let found: Vec<(u64, &str)> = problems
        .iter()
        .map(|one| {
            (one["range"]["start"]["line"].as_u64().expect("a line"), one["message"].as_str().expect("text"))
        })
        .collect();
    for (line, said) in [(3, "expected a name"), (4, "`std` must be above 0"), (0, "3 heads do not divide")] {
        assert!(found.iter().any(|(at, message)| *at == line && message.contains(said)), "{said}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(editor.shut_down().success());
}

#[test]
fn mends_are_offered_where_the_problem_is_and_do_away_with_it() {
    let (mut editor, _) = Editor::open(SPEC);
    let training = format!(
        "{SPEC}train {{ data = \"𝒟é\", bathc = 4, puzzles = sign_sgd(lr = 1), optimizer = adamw(lr = 1), steps = 3 }}\n"
    );
    let mut version = 1;
    for (text, title, expected) in [
        (SPEC.replace("vocab = 6", "vocap = 6"), "write `vocab`", SPEC.to_string()),
        (
            SPEC.replace("  tokens  {", "  tokens  {\u{a0}"),
            "replace it with a plain space",
            SPEC.replace("  tokens  {", "  tokens  { "),
        ),
        (SPEC.replace("let N = 2\n", "let N = 2\n  let M = 3  # unused\n"), "remove it", SPEC.to_string()),
        (
            SPEC.replace("heads = 2, ", "heads = 2, heads = 4, "),
            "remove the second of the two",
            SPEC.to_string(),
        ),
        (
            SPEC.replace(" }\n\n  network", "\n\n  network"),
            "add the missing `}`",
            SPEC.replace(" }\n\n  network", "}\n\n  network"),
        ),
        (training.clone(), "write `batch`", training.replace("bathc", "batch")),
    ] {
        version += 1;
        let found = editor.change(version, &text);
        let problem = found.first().unwrap_or_else(|| panic!("nothing is wrong:\n{text}"));
        let actions = editor.actions(&problem["range"]);
        let action = actions.iter().find(|action| action["title"] == title);
        let action = action.unwrap_or_else(|| panic!("`{title}` is not offered: {actions:?}"));
        assert_eq!(action["kind"], "quickfix");
        assert_eq!(action["diagnostics"], json!([problem]));
        let mended = edited(&text, &action["edit"]["changes"][URI]);
        assert_eq!(mended, expected);
        version += 1;
        assert_eq!(editor.change(version, &mended), Vec::<Value>::new(), "{title}");
    }

    let heads = SPEC.replace("heads = 2", "heads = 3");
    let range = editor.change(version + 1, &heads)[0]["range"].clone();
    let titles: Vec<Value> =
        editor.actions(&range).iter().map(|one| json!([one["title"], one["isPreferred"]])).collect();
    assert_eq!(titles, [json!(["write `2`", false]), json!(["write `4`", false])]);
    let top = json!({ "line": 0, "character": 0 });
    assert_eq!(editor.actions(&json!({ "start": top, "end": top })), Vec::<Value>::new());
    let context = json!({ "diagnostics": [], "only": ["refactor"] });
    let params = json!({ "textDocument": { "uri": URI }, "range": range, "context": context });
    assert_eq!(editor.ask("textDocument/codeAction", params), json!([]), "a mend is no refactoring");
}

#[test]
fn references_are_found() {
    let (mut editor, _) = Editor::open(SPEC);
    for (word, nth, count) in
        [("z_low", 2, 4), ("N", 1, 2), ("cycle", 1, 2), ("encoder", 0, 3), ("two", 0, 1)]
    {
        let (line, character) = place(SPEC, word, nth);
        for with_given in [true, false] {
            let position = json!({ "line": line, "character": character });
            let params = json!({
                "textDocument": { "uri": URI }, "position": position, "context": { "includeDeclaration": with_given }
            });
            let found = editor.ask("textDocument/references", params);
            let places: Vec<(u64, u64)> = found
                .as_array()
                .expect("it is a list")
                .iter()
                .map(|one| {
                    let start = &one["range"]["start"];
                    (start["line"].as_u64().expect("a line"), start["character"].as_u64().expect("a unit"))
                })
                .collect();
            let first = usize::from(!with_given);
            let expected: Vec<(u64, u64)> = (first..count)
                .map(|nth| {
                    let (line, character) = place(SPEC, word, nth);
                    (line.into(), character.into())
                })
                .collect();
            assert_eq!(places, expected, "{word}");
        }
    }
    let (line, character) = place(SPEC, "vocab", 0);
    let params = json!({
        "textDocument": { "uri": URI },
        "position": { "line": line, "character": character },
        "context": { "includeDeclaration": true },
    });
    assert_eq!(editor.ask("textDocument/references", params), Value::Null, "a key is no name");
}

#[test]
fn every_name_of_the_shipped_specs_is_renamed_there_and_back() {
    let (mut editor, _) = Editor::open(SPEC);
    let mut version = 1;
    let specs = fs::read_dir("specs").expect("the specs are checked in");
    let texts = specs.map(|entry| {
        let text = fs::read_to_string(entry.expect("it can be listed").path()).expect("it is text");
        text.replace("\r\n", "\n")
    });
    let mut count = 0;
    for text in texts.filter(|text| !text.contains("\nbase \"")).chain([SPEC.to_string()]) {
        version += 1;
        let problems = editor.change(version, &text);
        let symbols = editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": URI } }));
        for symbol in symbols.as_array().expect("it is a list") {
            let name = symbol["name"].as_str().expect("it has a name");
            let start = &symbol["range"]["start"];
            let unit =
                |key: &str| u32::try_from(start[key].as_u64().expect("a number")).expect("it is small");
            let at = (unit("line"), unit("character"));
            let prepared = editor.ask_at("textDocument/prepareRename", at.0, at.1);
            assert_eq!(prepared, json!({ "range": symbol["range"], "placeholder": name }));
            let answer = editor.rename(URI, at, "re_named");
            let renamed = edited(&text, &answer["result"]["changes"][URI]);
            assert_eq!(renamed.matches("re_named").count(), {
                let edits = answer["result"]["changes"][URI].as_array().expect("there are edits");
                edits.len()
            });
            version += 1;
            let still: Vec<Value> = editor.change(version, &renamed);
            assert_eq!(still.len(), problems.len(), "{name}: {still:?}");
            let answer = editor.rename(URI, at, name);
            assert_eq!(edited(&renamed, &answer["result"]["changes"][URI]), text, "{name}");
            version += 1;
            editor.change(version, &text);
            count += 1;
        }
    }
    assert!(count > 50, "{count} names");
}

#[test]
fn what_cannot_be_renamed_is_refused_with_a_message() {
    let (mut editor, _) = Editor::open(SPEC);
    let low = place(SPEC, "low", 0);
    for (at, new, expected) in [
        (low, "high", "`high` is in use already, in `/specs/two.hrm`; choose another name"),
        (low, "z_low", "`z_low` is in use already"),
        (low, "2nd", "`2nd` is no name: a name is made of the letters a to z, digits and `_`"),
        (low, "repeat", "`repeat` means something in every spec; choose another name"),
        (place(SPEC, "vocab", 0), "words", "`vocab` is no name that the spec gives, and cannot be renamed"),
        (place(SPEC, "x", 0), "input", "`x` is no name that the spec gives"),
        (place(SPEC, "Zwei", 0), "Drei", "there is no name here"),
    ] {
        let answer = editor.rename(URI, at, new);
        let said = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{new}: {answer}"));
        assert!(said.contains(expected), "{said}");
    }
    let same = editor.rename(URI, low, "low");
    assert_eq!(same["result"]["changes"], json!({}), "nothing changes");
    let label = editor.rename(URI, place(SPEC, "cycle", 0), "low");
    assert!(label["error"].is_null(), "a loop may be called as a network: {label}");
    editor.change(2, &SPEC.replace("  gradient last cycle\n", "  gradient\n"));
    let answer = editor.rename(URI, low, "lower");
    let said = answer["error"]["message"].as_str().expect("it is refused");
    assert!(said.contains("does not follow the grammar"), "{said}");
}

#[test]
fn a_name_of_a_base_is_renamed_in_the_base_and_in_the_open_specs_over_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str| {
        let path = fs::canonicalize(folder.path()).expect("it is there").join(name);
        format!("file://{}", path.display())
    };
    fs::write(folder.path().join("two.hrm"), SPEC).expect("the folder can be written");
    let text =
        "base \"two.hrm\"\n\nmodel three {\n  let N = 3\n  let M = N\n  block encoder { heads = M }\n}\n";
    let (base, uri) = (file("two.hrm"), file("three.hrm"));
    let mut editor = Editor::start();
    let document = |uri: &str, text: &str| json!({ "textDocument": { "uri": uri, "languageId": "hrm", "version": 1, "text": text } });
    editor.tell("textDocument/didOpen", document(&uri, text));
    editor.next();

    // The base is not open: its names are refused, others are renamed.
    for word in ["N", "encoder"] {
        let answer = editor.rename(&uri, place(text, word, 0), "other");
        let said = answer["error"]["message"].as_str().expect("it is refused");
        assert!(
            said.contains("is a name of the base `") && said.contains("two.hrm`; open that file"),
            "{said}"
        );
    }
    let answer = editor.rename(&uri, place(text, "M", 0), "low");
    let said = answer["error"]["message"].as_str().expect("it is refused");
    assert!(said.contains("`low` is in use already, in `") && said.contains("two.hrm`"), "{said}");
    let answer = editor.rename(&uri, place(text, "M", 0), "K");
    assert_eq!(edited(text, &answer["result"]["changes"][&uri]), text.replace('M', "K"));
    let answer = editor.rename(&uri, place(text, "three", 0), "two");
    assert!(answer["error"].is_null(), "models of two files may have one name: {answer}");

    let at = json!({ "line": 4, "character": 10 });
    let params =
        json!({ "textDocument": { "uri": uri }, "position": at, "context": { "includeDeclaration": true } });
    let found = editor.ask("textDocument/references", params);
    let files: Vec<&Value> = found.as_array().expect("it is a list").iter().map(|one| &one["uri"]).collect();
    assert_eq!(files, [&json!(uri), &json!(uri), &json!(base), &json!(base)]);

    // A mend is of the open text alone, where it stands over its base, too.
    let unused = text.replace("let M = N\n", "let M = N\n  let K = 1\n").replace("heads = M", "headz = M");
    let change = |version: i64, text: &str| {
        let document = json!({ "uri": uri, "version": version });
        json!({ "textDocument": document, "contentChanges": [{ "text": text }] })
    };
    let ask_actions = |editor: &mut Editor| -> Vec<Value> {
        let whole = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } });
        let context = json!({ "diagnostics": [] });
        let params = json!({ "textDocument": { "uri": uri }, "range": whole, "context": context });
        editor.ask("textDocument/codeAction", params).as_array().expect("it is a list").clone()
    };
    editor.tell("textDocument/didChange", change(2, &unused));
    editor.next();
    let actions = ask_actions(&mut editor);
    let titles: Vec<&Value> = actions.iter().map(|action| &action["title"]).collect();
    assert_eq!(titles, ["write `heads`", "remove it"], "{actions:?}");
    let mended = actions.iter().map(|action| edited(&unused, &action["edit"]["changes"][&uri]));
    let expected = [unused.replace("headz", "heads"), unused.replace("  let K = 1\n", "")];
    assert_eq!(mended.collect::<Vec<_>>(), expected);
    let alone = text.replace("  block encoder { heads = M }\n", "  network low = M * other\n  block other { hidden = 16, heads = 2 }\n  without encoder, high, z_high\n");
    editor.tell("textDocument/didChange", change(3, &alone));
    assert_ne!(editor.next()["params"]["diagnostics"], json!([]), "the base has what nothing uses any more");
    for action in ask_actions(&mut editor) {
        let files: Vec<&String> = action["edit"]["changes"].as_object().expect("edits").keys().collect();
        assert_eq!(files, [&uri], "{action}");
    }
    editor.tell("textDocument/didChange", change(4, text));
    editor.next();

    // In the base, the open spec over it is renamed with it.
    editor.tell("textDocument/didOpen", document(&base, SPEC));
    editor.next();
    editor.next();
    let answer = editor.rename(&base, place(SPEC, "N", 0), "cycles");
    let changes = &answer["result"]["changes"];
    assert_eq!(
        edited(SPEC, &changes[&base]),
        SPEC.replace("let N", "let cycles").replace("repeat N", "repeat cycles")
    );
    assert_eq!(edited(text, &changes[&uri]), text.replace('N', "cycles"));
    let answer = editor.rename(&base, place(SPEC, "N", 0), "M");
    let said = answer["error"]["message"].as_str().expect("it is refused");
    assert!(said.contains("`M` is in use already, in `") && said.contains("three.hrm`"), "{said}");
    assert!(editor.shut_down().success());
}

#[test]
fn hints_show_shapes_and_sizes_as_long_as_nothing_is_wrong() {
    let text = SPEC.replace("let N = 2\n", "let N = 2\n  let M = N * 3\n").replace("repeat N", "repeat M");
    let (mut editor, found) = Editor::open(&text);
    assert_eq!(found, Vec::<Value>::new());
    let range = |first: u32, last: u32| json!({ "start": { "line": first, "character": 0 }, "end": { "line": last, "character": 0 } });
    let ask = |editor: &mut Editor, range: Value| -> Vec<(u64, u64, String)> {
        let params = json!({ "textDocument": { "uri": URI }, "range": range });
        let hints = editor.ask("textDocument/inlayHint", params);
        let hint = |hint: &Value| {
            let number = |key: &str| hint["position"][key].as_u64().expect("a position has numbers");
            (number("line"), number("character"), hint["label"].as_str().expect("it is text").to_string())
        };
        hints.as_array().expect("it is a list").iter().map(hint).collect()
    };
    let hints = ask(&mut editor, range(0, 99));
    let expected = [
        (1, 9, ": 5_602 parameters"),
        (3, 15, " = 6"),
        (8, 15, ": 2 heads of width 8, a gated unit of width 16, 1_792 parameters"),
        (10, 13, ": 2 blocks, 3_584 parameters"),
        (11, 14, ": 1 block, 1_792 parameters"),
        (13, 21, ": [B, 17, 16]"),
    ];
    let said: Vec<(u64, u64, &str)> =
        hints.iter().map(|(line, unit, label)| (*line, *unit, &**label)).collect();
    assert_eq!(said, expected);
    assert_eq!(ask(&mut editor, range(13, 14)).len(), 1, "an editor asks for what it shows");
    editor.change(2, &text.replace("heads = 2", "heads = 3"));
    assert_eq!(ask(&mut editor, range(0, 99)), []);
    editor.change(3, &text.replace("let N = 2\n", "let N = 2\n  let K = 1\n"));
    assert_eq!(ask(&mut editor, range(0, 99)).len(), expected.len(), "a warning hides nothing");
}

#[test]
fn odd_messages_are_answered_and_survived() {
    let (mut editor, _) = Editor::open(SPEC);
    let unknown = editor.ask_whole("textDocument/foldingRange", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    let wrong = editor.ask_whole("textDocument/hover", json!({ "position": 3 }));
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    editor.tell("textDocument/didChange", json!({ "nothing": true }));
    editor.tell("$/setTrace", json!({ "value": "off" }));
    let position = json!({ "line": 0, "character": 0 });
    let elsewhere = json!({ "textDocument": { "uri": "file:///other.hrm" }, "position": position });
    assert_eq!(editor.ask("textDocument/hover", elsewhere), Value::Null, "the text is not open");
    let beyond = editor.ask_at("textDocument/hover", 9_999, 9_999);
    assert_eq!(beyond, Value::Null);
    assert!(editor.shut_down().success());
}

#[test]
fn a_server_that_is_left_alone_ends_with_an_error() {
    let (mut editor, _) = Editor::open(SPEC);
    assert_eq!(editor.end().code(), Some(1));
    let said = editor.said_on_standard_error();
    assert_eq!(said, "error: the editor went away without shutting the server down\n");
    let mut person = Editor::silent();
    let input = person.input.as_mut().expect("the input is open");
    input.write_all(b"hello\n\n").expect("the server reads");
    assert_eq!(person.end().code(), Some(1));
    let said = person.said_on_standard_error();
    assert!(said.contains("`hrmc lsp` is started by an editor"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
