//! Scripts of the tests in Python, which not every machine has.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a script of Python with this standard input, and returns its standard output; `None`, said aloud, where there
/// is no Python.
///
/// # Panics
///
/// If the script fails.
pub fn python(script: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(reason) => {
            eprintln!("`{script}` did not run, and nothing was held against it: no `python3`: {reason}");
            return None;
        }
    };
    let mut pipe = child.stdin.take().expect("it is piped");
    // A script reads all of it before it writes.
    pipe.write_all(input.as_bytes()).expect("the script reads its input");
    drop(pipe);
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "`{script}` failed");
    Some(String::from_utf8(output.stdout).expect("the script writes text"))
}
