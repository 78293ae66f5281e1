//! Borders between modules are borders between stages: a module uses only modules of a lower order, the files of a
//! folder do not use each other in circles, and few modules touch what lies outside of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

use crate::names::{code, files};
use crate::sources::{Names, Sources, Used};

/// Order of every module; those of one order do not use each other.
const ORDER: &[(&str, u32)] = &[
    ("hash", 0),
    ("reading", 0),
    ("shell", 0),
    ("span", 0),
    ("system", 0),
    ("units", 0),
    ("chart", 1),
    ("diagnostic", 1),
    ("data", 1),
    ("syntax", 2),
    ("ir", 2),
    ("graph", 2),
    ("measures", 2),
    ("check", 3),
    ("autodiff", 3),
    ("optim", 3),
    ("passes", 3),
    ("plan", 3),
    ("lower", 4),
    ("device", 4),
    ("spell", 4),
    ("pipeline", 5),
    ("spec", 5),
    ("store", 5),
    ("census", 6),
    ("train", 6),
    // Whole programs besides training, which the command line starts: parity, timing, pictures, an editor's server.
    ("parity", 7),
    ("bench", 7),
    ("explain", 7),
    ("figure", 7),
    ("lsp", 7),
    ("cli", 8),
];

/// What only some modules may use.
struct Door {
    /// Paths that begin with one of these are behind it.
    guarded: &'static [&'static str],
    /// The modules that may use them, each with why.
    owners: &'static [(&'static str, &'static str)],
}

/// What only some modules may use, and why these may. A reason that nobody needs any more is a breach too.
const DOORS: &[Door] = &[
    Door {
        guarded: &["luminal"],
        owners: &[
            ("graph", "a graph is one of luminal's, with nodes of ours"),
            ("graph::decomposed", "what operators mean is said in luminal's primitives"),
            ("graph::luminal", "the primitives, and what has to be known about them"),
        ],
    },
    Door {
        guarded: &["pest", "pest_derive"],
        owners: &[
            ("syntax::grammar", "the parser is made from the grammar"),
            ("syntax::parse", "text becomes a tree"),
            ("syntax::expectation", "what the parser expected is said in words"),
        ],
    },
    Door {
        guarded: &["nalgebra"],
        owners: &[("measures::trajectory", "principal components are eigenvectors")],
    },
    Door {
        guarded: &["crossterm"],
        owners: &[
            ("cli::screen", "the whole screen is taken, and given back"),
            ("cli::trace::player", "keys are read while a trace plays"),
        ],
    },
    Door { guarded: &["codespan_reporting"], owners: &[("diagnostic::render", "there is one renderer")] },
    Door { guarded: &["cudarc"], owners: &[("device::cuda::driver", "the driver is called from one place")] },
    Door {
        guarded: &["libloading"],
        owners: &[
            ("device::cuda::probe", "CUDA's libraries are looked for"),
            ("device::cuda::nvrtc", "NVRTC is called"),
        ],
    },
    Door {
        guarded: &["lsp_server", "lsp_types"],
        owners: &[
            ("lsp", "the server"),
            ("lsp::actions", "mends become edits of the protocol"),
            ("lsp::address", "files have addresses in the protocol"),
            ("lsp::complete", "completions are those of the protocol"),
            ("lsp::family", "the texts of a family go by their addresses"),
            ("lsp::position", "places are counted as the protocol does"),
            ("lsp::rename", "references and new names become places and edits of the protocol"),
        ],
    },
    Door { guarded: &["prost"], owners: &[("cli::event_files", "events of TensorBoard are such messages")] },
    Door {
        guarded: &["std::fs", "tempfile"],
        owners: &[
            ("reading", "files are read"),
            ("spec", "the bases of specs are compared by what the system calls them"),
            ("data::arc::tasks", "folders of tasks are listed"),
            ("data::folder", "it is looked into a folder that is no dataset"),
            ("data::npy", "arrays of datasets and of answers are written"),
            ("data::writer", "datasets are written"),
            ("train::data", "a folder of data is looked for"),
            ("store::disk", "files of runs are written"),
            ("store::lock", "the file of the lock is made and read"),
            ("store::run_folder", "run folders are read"),
            ("store::upkeep", "run folders are measured and removed"),
            ("system", "Linux says in a file which signals are ignored"),
            ("system::memory", "Linux says in files how much memory there is"),
            ("device::cuda::cache", "compiled kernels are kept where the caller says"),
            ("lsp::document", "the bases of specs are compared by what the system calls them"),
            ("cli::event_files", "event files are written where the user says"),
            ("cli::adapt", "the data of a run lies in a folder of its own until the run is made"),
            ("cli::launches", "kernels are written where the user says"),
            ("cli::terminal", "output is written where the user says"),
        ],
    },
    Door {
        guarded: &["toml::from_str", "toml::Deserializer", "serde_json::from_str", "serde_json::from_slice"],
        owners: &[
            ("reading::json", "what is wrong with a text is said in plain words"),
            ("reading::tensors", "headers have JSON"),
            ("reading::toml", "what is wrong with a text is said in plain words"),
        ],
    },
    Door {
        guarded: &["std::env"],
        owners: &[("cli::project", "what the environment says becomes an argument of the library here")],
    },
    Door {
        guarded: &["std::time::Instant", "std::time::SystemTime"],
        owners: &[
            ("bench", "programs are timed"),
            ("device::cpu::execute", "calls are timed for whoever watches"),
            ("device::cpu::peak", "the processor's peak is measured"),
            ("train::training", "a checkpoint is saved every few minutes, and times are recorded"),
            ("cli::adapt", "learning ends after a time that the user may choose"),
            ("cli::eval", "the user is told how long it took"),
            ("cli::event_files", "events have the time of day"),
            ("cli::interrupt", "time is limited by the user"),
            ("cli::progress", "the user is told how fast it goes"),
            ("cli::train", "the user is told how long it took"),
        ],
    },
    Door {
        guarded: &["std::process"],
        owners: &[
            ("cli", "exit codes"),
            ("store::lock", "the lock names its process"),
            ("cli::interrupt", "a second signal ends the process at once"),
        ],
    },
    Door { guarded: &["std::net"], owners: &[] },
];

/// The files that read others by themselves, each with why. All others read through `reading`, which has a bound for
/// each kind of file.
const READERS: &[(&str, &str)] = &[
    ("src/reading/mod.rs", "files are read here"),
    ("src/store/disk.rs", "folders are opened to be synced"),
    ("src/store/lock.rs", "the file of the lock is opened to be locked"),
    ("src/system/memory.rs", "Linux says in files how much memory there is"),
    ("src/system/mod.rs", "Linux says in a file which signals are ignored"),
];

fn names(path: &str) -> Names {
    path.split("::").map(str::to_string).collect()
}

/// Returns uses of modules that are not of a lower order.
fn climbs(sources: &Sources, order: &[(&str, u32)]) -> Vec<String> {
    let order: BTreeMap<&str, u32> = order.iter().copied().collect();
    let mut breaches = Vec::new();
    for file in sources.modules() {
        let Some(module) = file.first().filter(|module| *module != "main") else { continue };
        let Some(&own) = order.get(module.as_str()) else {
            breaches.push(format!("the module `{module}` has no order"));
            continue;
        };
        for used in sources.used(file) {
            let Used::Module(used) = used else { continue };
            let Some(other) = used.first().filter(|other| *other != module) else { continue };
            if order.get(other.as_str()).is_none_or(|&other| other >= own) {
                breaches.push(format!("`{}` uses `{}`", file.join("::"), used.join("::")));
            }
        }
    }
    breaches
}

/// Returns circles of files and folders that lie side by side and use each other, one for each group.
fn circles(sources: &Sources) -> Vec<String> {
    // What each part of a folder uses beside it.
    let mut folders: BTreeMap<Names, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for file in sources.modules() {
        for used in sources.used(file) {
            let Used::Module(used) = used else { continue };
            let common = file.iter().zip(&used).take_while(|(one, other)| one == other).count();
            // A folder and what lies in it may know each other.
            if let (Some(from), Some(to)) = (file.get(common), used.get(common)) {
                let parts = folders.entry(file[..common].to_vec()).or_default();
                parts.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut circles = Vec::new();
    for (folder, parts) in &folders {
        let mut seen = BTreeSet::new();
        for start in parts.keys() {
            if !seen.contains(start)
                && let Some(circle) = way_back(start, parts)
            {
                seen.extend(circle.iter().cloned());
                circles.push(format!("in `{}`: {}", folder.join("::"), circle.join(" -> ")));
            }
        }
    }
    circles
}

/// Returns the shortest way from a part of a folder back to itself.
fn way_back(start: &String, parts: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&String, &String> = BTreeMap::new();
    let mut next = vec![start];
    while !next.is_empty() {
        let mut after = Vec::new();
        for from in next {
            for to in parts.get(from).into_iter().flatten() {
                if to == start {
                    let mut way = vec![start.clone(), from.clone()];
                    while let Some(before) = came_from.get(way.last().expect("it has a start")) {
                        way.push((*before).clone());
                    }
                    way.reverse();
                    way.push(start.clone());
                    way.dedup();
                    return Some(way);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, from);
                    after.push(to);
                }
            }
        }
        next = after;
    }
    None
}

/// Returns uses of what is behind a door by modules that have no reason, and reasons that no module needs.
fn break_ins(sources: &Sources, doors: &[Door]) -> Vec<String> {
    let mut breaches = Vec::new();
    for Door { guarded, owners } in doors {
        let guarded: Vec<Names> = guarded.iter().map(|path| names(path)).collect();
        let mut idle: BTreeSet<Names> = owners.iter().map(|(owner, _)| names(owner)).collect();
        for file in sources.modules().filter(|file| *file != &names("main")) {
            for used in sources.used(file) {
                let Used::Extern(path) = used else { continue };
                if !guarded.iter().any(|guarded| path.starts_with(guarded)) {
                    continue;
                }
                idle.remove(file);
                if !owners.iter().any(|(owner, _)| names(owner) == *file) {
                    breaches.push(format!("`{}` uses `{}`", file.join("::"), path.join("::")));
                }
            }
        }
        breaches.extend(idle.iter().map(|owner| format!("`{}` does not use {guarded:?}", owner.join("::"))));
    }
    breaches
}

fn hrmc() -> Sources {
    Sources::open(Path::new("src"))
}

#[test]
fn modules_use_only_modules_of_a_lower_order() {
    let breaches = climbs(&hrmc(), ORDER);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn files_of_a_folder_do_not_use_each_other_in_circles() {
    let circles = circles(&hrmc());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn only_modules_with_a_reason_use_what_is_guarded() {
    let breaches = break_ins(&hrmc(), DOORS);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Returns what reads a file or a pipe to its end, or opens a file to be read.
fn reads(code: &str) -> Vec<String> {
    let pattern = Regex::new(r"(fs::read|fs::read_to_string|File::open|\.read_to_end|\.read_to_string)\(");
    let pattern = pattern.expect("the pattern is one");
    pattern.captures_iter(code).map(|found| found[1].to_string()).collect()
}

#[test]
fn files_are_read_up_to_a_bound() {
    let mut idle: BTreeSet<&str> = READERS.iter().map(|(file, _)| *file).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files("src", "rs") {
        let name = path.strip_prefix(root).expect("it is in the folder").to_string_lossy().replace('\\', "/");
        let found = reads(&code(&path));
        let is_test = name.contains("/tests/") || name.ends_with("testing.rs");
        let may = is_test || READERS.iter().any(|(file, _)| *file == name);
        assert!(found.is_empty() || may, "`{name}` reads with {found:?}; take `reading`");
        if !found.is_empty() {
            idle.remove(name.as_str());
        }
    }
    assert!(idle.is_empty(), "these read no files: {idle:?}");
    assert_eq!(
        reads("let text = fs::read_to_string(path)?; File::open(path)"),
        ["fs::read_to_string", "File::open"]
    );
}

/// Makes sources of files: the names of each path, and its text.
fn sources(files: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    files.iter().for_each(|(path, text)| sources.add(names(path), text));
    sources
}

#[test]
fn groups_macros_and_inner_modules_are_seen_but_no_comments_texts_and_tests() {
    let text = "
        use crate::{ir::{self, Model}, span};
        use std::{env, fs as files};
        // use crate::lsp;
        const TEXT: &str = \"crate::lsp\";
        fn f() -> bool { matches!(1, crate::check::ONE) }
        mod inner { fn g(path: super::super::data::Kind) { std::time::Instant::now() } }
        #[cfg(test)] use crate::cli;
        #[cfg(test)] mod tests { use crate::train; fn h() { std::process::abort() } }
        #[cfg(test)] fn k() { crate::bench::run() }
        fn l() { crate::units::count(); Vec::<u8>::new(); ::span::of() }";
    let files =
        ["ir::mod", "span", "check", "data::mod", "data::kind", "units", "lsp", "cli", "train", "bench"];
    let mut all: Vec<_> = files.iter().map(|file| (*file, "")).collect();
    all.push(("syntax::parse", text));
    let mut sources = sources(&all);
    sources.add(names("syntax::mod"), "mod parse;");
    let used = sources.used(&names("syntax::parse"));
    let expected = ["ir", "span", "check", "units"].map(|module| Used::Module(names(module)));
    let outside =
        ["std::env", "std::fs", "std::time::Instant::now", "span::of"].map(|path| Used::Extern(names(path)));
    let mut expected: BTreeSet<Used> = expected.into_iter().chain(outside).collect();
    // `super` of a module within a file is the file, so this is a module beside it, and `syntax` has none of that name.
    expected.insert(Used::Module(names("syntax")));
    assert_eq!(used, expected);
}

#[test]
fn a_module_above_is_found() {
    let order = [("low", 0), ("beside", 0), ("high", 1)];
    let found = |text| climbs(&sources(&[("low", text), ("beside", ""), ("high", "")]), &order);
    assert_eq!(found("use crate::high::Thing;"), ["`low` uses `high`"]);
    assert_eq!(found("fn f() { crate::beside::f() }"), ["`low` uses `beside`"]);
    assert_eq!(climbs(&sources(&[("new", "")]), &order), ["the module `new` has no order"]);
    assert_eq!(climbs(&sources(&[("low", ""), ("high", "use crate::low::Thing;")]), &order), [""; 0]);
}

#[test]
fn a_circle_is_found_through_another_name_and_through_folders() {
    let parent = "mod a; mod b; pub use b::B;";
    let found =
        circles(&sources(&[("m::mod", parent), ("m::a", "use super::B;"), ("m::b", "use super::a::A;")]));
    assert_eq!(found, ["in `m`: a -> b -> a"]);
    let inner =
        [("x", "use crate::y::z::Z;"), ("y::z", ""), ("y::w", "fn f() { crate::x::f() }"), ("y::mod", "")];
    assert_eq!(circles(&sources(&inner)), ["in ``: x -> y -> x"]);
    let up_and_down = [("m::mod", "mod a; use a::A; struct B;"), ("m::a", "use super::B;")];
    assert_eq!(circles(&sources(&up_and_down)), [""; 0]);
}

#[test]
fn a_use_without_a_reason_and_a_reason_without_a_use_are_found() {
    let doors = [Door { guarded: &["std::fs"], owners: &[("a", "why"), ("c", "why")] }];
    let read = "fn f() { std::fs::read(\"x\"); }";
    let found = break_ins(&sources(&[("a", "use std::{env, fs};"), ("b", read), ("c", "")]), &doors);
    assert_eq!(found, ["`b` uses `std::fs::read`", "`c` does not use [[\"std\", \"fs\"]]"]);
}
