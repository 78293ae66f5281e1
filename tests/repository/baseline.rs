//! `crates/baseline`, a workspace of its own: its tests run in `.ci/run --long`, and hrmc needs nothing of it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use toml::Table;

/// Packages of this repository that the baseline uses, and of whose workspace it is no member.
const LOCAL: [&str; 2] = ["hrmc", "hrmc-testing"];

/// Runs the tests of the baseline. What both workspaces need is compiled once, since they share a target folder.
#[test]
#[ignore = "it compiles another workspace for minutes; `.ci/run --long` runs it"]
fn the_baseline_passes_its_tests() {
    let target =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo puts it into the target folder");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/baseline/Cargo.toml");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("test").arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "`crates/baseline` fails its tests:\n{err}{out}");
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).expect("the file is checked in")
}

fn manifest(file: &str) -> Table {
    read(file).parse().expect("a manifest is TOML")
}

#[test]
fn the_baseline_has_the_version_and_the_profiles_that_the_manifest_says() {
    let (hrmc, baseline) = (manifest("Cargo.toml"), manifest("crates/baseline/Cargo.toml"));
    let version = &hrmc["workspace"]["dependencies"]["luminal_cuda"];
    assert_eq!(&baseline["dependencies"]["luminal_cuda"], version);
    assert_eq!(baseline["dependencies"]["luminal"], hrmc["dependencies"]["luminal"]);
    assert_eq!(baseline["workspace"]["lints"], hrmc["workspace"]["lints"]);
    // Other features or profiles would have packages compiled a second time.
    for (package, wanted) in hrmc["dev-dependencies"].as_table().expect("dependencies are a table") {
        // A path is that of a package in this repository, which is a workspace member of hrmc's or of nobody's.
        if wanted.get("path").is_none() {
            assert_eq!(&baseline["dev-dependencies"][package], wanted, "{package}");
        }
    }
    let mut profiles = baseline["profile"].clone();
    let packages = profiles["dev"]["package"].as_table_mut().expect("profiles of packages are a table");
    // The packages of this repository are compiled a second time there, as fast as can be.
    for package in LOCAL {
        packages.remove(package).expect("it has a profile there");
    }
    packages.remove("luminal_cuda").expect("it is the one dependency that hrmc does not have");
    assert_eq!(profiles, hrmc["profile"]);
}

#[test]
fn what_hrmc_is_built_from_has_nothing_of_luminal_cuda() {
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = manifest(file);
        let packages = lock["package"].as_array().expect("a lock file is a list of packages");
        let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
        assert!(names.contains(&"luminal"), "`{file}` lists the packages that hrmc is built from");
        for unwanted in ["luminal_cuda", "luminal_cudarc"] {
            assert!(!names.contains(&unwanted), "`{file}` has `{unwanted}`");
        }
    }
}
