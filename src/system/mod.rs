//! Messages and figures of the operating system, worded as the other messages of hrmc are.

#![expect(clippy::disallowed_methods, reason = "Linux says in a file which signals are ignored")]

pub mod memory;

use std::fs;
use std::io;
use std::path::Path;

/// Returns why the system refused: lower case, without an error number.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        io::ErrorKind::IsADirectory => "it is a folder".to_string(),
        // What others found in the data comes with a message of its own.
        io::ErrorKind::InvalidData if error.get_ref().is_none() => "it is not UTF-8 text".to_string(),
        _ => without_number(&error.to_string()),
    }
}

fn without_number(said: &str) -> String {
    let Some(at) = said.find(" (os error ") else { return said.to_string() };
    let mut characters = said[..at].chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// Returns the bytes that a user may still write to the disk of a folder, where the system tells.
pub fn free_disk_bytes(folder: &Path) -> Option<u64> {
    fs4::available_space(folder).ok()
}

/// Returns whether the signal that a terminal is closed was ignored when this process began, as `nohup` arranges it;
/// `false` where the system does not tell.
pub fn ignores_hang_up() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_signal_1(&status))
}

/// Reads the mask of ignored signals in a text of Linux's `/proc`. Its lowest bit is signal 1, SIGHUP.
fn ignores_signal_1(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{ignores_signal_1, reason};

    #[test]
    fn a_signal_is_ignored_where_its_bit_says_so() {
        let ignores =
            |mask: &str| ignores_signal_1(&format!("SigBlk:\tffff\nSigIgn:\t{mask}\nSigCgt:\t0001\n"));
        assert!(ignores("0000000000000001") && ignores("0000000000001007"));
        assert!(!ignores("0000000000001006") && !ignores_signal_1("") && !ignores("?"));
    }

    #[test]
    fn the_system_speaks_like_the_rest() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "there is no such file or folder");
        let other = reason(&io::Error::from_raw_os_error(28));
        assert!(!other.contains("os error") && other.starts_with(char::is_lowercase), "{other}");
        let custom = io::Error::new(io::ErrorKind::InvalidData, "Row 3 is short");
        assert_eq!(reason(&custom), "Row 3 is short");
        let text = std::fs::read_to_string("/").expect_err("it is a folder");
        assert_eq!(reason(&text), "it is a folder");
    }
}
