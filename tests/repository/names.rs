//! One name for each thing: operators and their kernels, operands, types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Returns the files below a folder with this extension, sorted.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the sources are checked in") {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() {
                collect(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), extension, &mut found);
    found.sort();
    found
}

/// Returns a file of the project, without its unit tests.
pub(crate) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the file can be read");
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_string()
}

fn read(path: &str) -> String {
    code(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// Returns the first group of every match.
fn all(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("the pattern is one");
    pattern.captures_iter(text).map(|found| found[1].to_string()).collect()
}

/// A row of `docs/operators.md`.
struct OperatorRow {
    operator: String,
    cpu: BTreeSet<String>,
    cuda: BTreeSet<String>,
    reason: String,
}

fn table() -> Vec<OperatorRow> {
    let names = |cell: &str| all("`([^`]+)`", cell).into_iter().collect();
    read("docs/operators.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [operator, cpu, cuda, reason] = cells[..] else { panic!("four cells: {line}") };
            OperatorRow {
                operator: operator.trim_matches('`').to_string(),
                cpu: names(cpu),
                cuda: names(cuda),
                reason: reason.to_string(),
            }
        })
        .collect()
}

/// Returns the name of each operator in text with the name of its type.
fn operators() -> BTreeMap<String, String> {
    let pattern =
        Regex::new(r#"impl Operation for (\w+) \{\s+fn name\(&self\) -> &'static str \{\s+"(\w+)""#)
            .expect("the pattern is one");
    let texts: String = files("src/graph/ops", "rs").iter().map(|path| code(path)).collect();
    pattern.captures_iter(&texts).map(|found| (found[2].to_string(), found[1].to_string())).collect()
}

/// Returns the CPU kernels that the executor calls for an operator.
fn called(executor: &str, operator: &str) -> BTreeSet<String> {
    let arms = executor.split_once("fn run_call(").expect("the executor runs calls").1;
    let start = arms.find(&format!("Op::{operator}(")).expect("every operator has an arm");
    let rest = &arms[start..];
    let end = rest.find("\n        Op::").or_else(|| rest.find("\n    }\n")).expect("an arm ends");
    all(r"kernels::(\w+)\(", &rest[..end]).into_iter().collect()
}

#[test]
fn an_operator_and_its_kernels_have_one_name() {
    let (table, operators) = (table(), operators());
    let listed: Vec<&String> = table.iter().map(|row| &row.operator).collect();
    assert_eq!(listed.len(), operators.len(), "one row for each operator");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), operators.keys().collect());
    let executor = read("src/device/cpu/execute.rs");
    let kernels: String = files("src/device/cpu/kernels", "rs").iter().map(|path| code(path)).collect();
    let kernels: BTreeSet<String> = all(r"pub fn (\w+)\(", &kernels).into_iter().collect();
    for row in &table {
        let called = called(&executor, &operators[&row.operator]);
        assert_eq!(called, row.cpu, "CPU kernels of `{}`", row.operator);
        assert!(row.cpu.is_subset(&kernels), "CPU kernels of `{}`", row.operator);
        let own_name = row.cpu.iter().all(|name| *name == row.operator)
            && row.cuda.iter().all(|name| name.starts_with(&row.operator))
            && !row.cpu.is_empty()
            && !row.cuda.is_empty();
        assert_eq!(own_name, row.reason.is_empty(), "`{}` gives a reason for another name", row.operator);
    }
    let entries: BTreeSet<String> = files("src/device/cuda/kernels", "cu")
        .iter()
        .flat_map(|path| {
            all(
                r#"(?:\bKERNEL|extern "C" __global__ void) (\w+)\("#,
                &fs::read_to_string(path).expect("text"),
            )
        })
        .chain(all(r#"=> "(product_\w+)""#, &read("src/device/cuda/launch.rs")))
        .collect();
    let listed: BTreeSet<String> = table.into_iter().flat_map(|row| row.cuda).collect();
    assert_eq!(listed, entries, "CUDA entries of all operators");
}

#[test]
fn operands_are_addressed_by_name() {
    let literal = Regex::new(
        r"(?x) \b(inputs|outputs|operands|results|wanted|scalars)(\(\w+\))?\[\d
        | \b(at|self)\.(f32|i32|out|ty|out_ty|scalar|input|output)\(\d",
    )
    .expect("the pattern is one");
    let folders = ["graph", "plan", "passes", "lower", "device"];
    for path in folders.iter().flat_map(|folder| files(&format!("src/{folder}"), "rs")) {
        for line in code(&path).lines() {
            assert!(!literal.is_match(line), "{}: `{}`", path.display(), line.trim());
        }
    }
}

/// Types that may have one name, with the reason.
const SHARED_TYPE_NAMES: &[(&str, &str)] = &[
    (
        "Arguments",
        "each command of the command line has a file, whose type of this name holds what it is given",
    ),
    ("Data", "`ir::Data` is what a spec asks for, `train::Data` what was made of it"),
    ("Violation", "each of `ir`, `graph` and `plan` has rules of its own, and a type for a broken one"),
];

#[test]
fn no_two_types_have_one_name() {
    let declared = Regex::new(r"(?m)^(?:pub(?:\([a-z ]+\))? )?(?:struct|enum|trait|type|union) (\w+)")
        .expect("the pattern is one");
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files("src", "rs") {
        let text = code(&path);
        for found in declared.captures_iter(&text) {
            let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it is below").display();
            types.entry(found[1].to_string()).or_default().push(path.to_string());
        }
    }
    let mut shared: BTreeMap<&str, &str> = SHARED_TYPE_NAMES.iter().copied().collect();
    for (name, mut files) in types {
        // The syntax tree names what the language has, and later stages name what becomes of it.
        files.retain(|file| file != "src/syntax/ast.rs");
        if files.len() > 1 {
            assert!(shared.remove(name.as_str()).is_some(), "`{name}` is declared in {files:?}");
        }
    }
    assert!(shared.is_empty(), "no longer shared: {shared:?}");
}
