//! Event files of TensorBoard, which hold the curves of a run as scalars.
//!
//! A file is a row of records. A record is the length of its data (u64), a checksum of these 8 bytes, the data, and a
//! checksum of the data, all little-endian. The data is an `Event`, a message of protocol buffers, of which the few
//! fields that are written here stand below with their numbers in TensorBoard's `event.proto` and `summary.proto`.
//!
//! The files of a run lie in a folder of its own, and TensorBoard reads them by their names. A training that goes on
//! begins another file with the event that a session starts. From its step on, TensorBoard drops what the files before
//! have, so that no point is there twice.

#![expect(clippy::disallowed_methods, reason = "files are written where the user says, with the time of day")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use prost::Message;

use super::curves::{LoggedLine, LoggedQuantity, LoggedRun};
use super::failure::Failure;

/// What happened at a moment.
#[derive(Clone, PartialEq, Message)]
struct EventRecord {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<ScalarSummary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct ScalarSummary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ScalarValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScalarValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";

/// The status of a session that starts.
const START: i32 = 1;

/// What the names of event files begin with.
const NAME: &str = "events.out.tfevents.";

/// An event file, open for adding.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins another file in a folder, for what follows `step`.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder or the file cannot be made or written.
    pub fn create(folder: &Path, step: u64) -> Result<EventFile, Failure> {
        let begun = fs::create_dir_all(folder).and_then(|()| {
            let mut number = numbers(folder)?.into_iter().max().unwrap_or(0);
            loop {
                number += 1;
                let path = folder.join(format!("{NAME}{number:010}.hrmc"));
                match OpenOptions::new().write(true).create_new(true).open(&path) {
                    Ok(file) => return Ok(EventFile { path, file }),
                    // Another process took this number just now.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let mut begun = begun.map_err(|error| Failure::cannot_write(folder, &error))?;
        let wall_time = now();
        begun.write(&EventRecord {
            wall_time,
            file_version: Some(VERSION.to_string()),
            ..EventRecord::default()
        })?;
        begun.start(step)?;
        Ok(begun)
    }

    /// Says that a session starts after `step`: what was written of later steps is void.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn start(&mut self, step: u64) -> Result<(), Failure> {
        self.write(&EventRecord {
            wall_time: now(),
            step: step as i64 + 1,
            session_log: Some(SessionLog { status: START }),
            ..EventRecord::default()
        })
    }

    /// Adds everything that was measured, as of this moment.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn add(&mut self, line: &LoggedLine<'_>) -> Result<(), Failure> {
        self.write(&record(line, now()))
    }

    fn write(&mut self, event: &EventRecord) -> Result<(), Failure> {
        self.file.write_all(&framed(event)).map_err(|error| Failure::cannot_write(&self.path, &error))
    }
}

/// Writes everything that a run has measured to a file in a folder that has none yet. The time of an event is that since
/// the beginning of the training, where it is known.
///
/// # Errors
///
/// Returns a failure if the folder has event files, or the file cannot be written.
pub fn write_run(run: &LoggedRun, folder: &Path) -> Result<(), Failure> {
    let cannot_read = |error| Failure::cannot_read(folder, &error);
    if folder.exists() && !numbers(folder).map_err(cannot_read)?.is_empty() {
        return Err(Failure::message(format!(
            "`{}` has event files already, and every point would be there twice; remove them, or choose another folder",
            folder.display()
        )));
    }
    let mut file = EventFile::create(folder, 0)?;
    let mut events = Vec::new();
    for line in run.measured() {
        events.extend(framed(&record(&line, line.times.map_or(0.0, |times| times.seconds))));
    }
    file.file.write_all(&events).map_err(|error| Failure::cannot_write(&file.path, &error))
}

/// Returns the numbers of the event files in a folder; those of other programs have the number 0.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(NAME)) else { continue };
        let number = rest.strip_suffix(".hrmc").and_then(|digits| digits.parse().ok());
        numbers.push(number.unwrap_or(0));
    }
    Ok(numbers)
}

/// Returns the seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn record(line: &LoggedLine<'_>, wall_time: f64) -> EventRecord {
    let value = |quantity: &LoggedQuantity| {
        let value = quantity.of(line)?;
        let tag = format!("{}/{}", line.of.name(), quantity.key());
        Some(ScalarValue { tag, simple_value: Some(value as f32) })
    };
    let values = LoggedQuantity::value_variants().iter().filter_map(value).collect();
    EventRecord {
        wall_time,
        step: line.line.step() as i64,
        summary: Some(ScalarSummary { values }),
        ..EventRecord::default()
    }
}

/// Returns an event as a record.
fn framed(event: &EventRecord) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(&data);
    record.extend(masked(&data).to_le_bytes());
    record
}

/// Returns the checksum of bytes as records have it. It is changed so that the checksum of data that holds checksums is
/// worth something.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Returns CRC-32C (RFC 3720, appendix B.4), bit by bit: a record is short.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn a_record_has_its_length_and_two_checksums() {
        let event =
            EventRecord { wall_time: 1.5, file_version: Some(VERSION.to_string()), ..EventRecord::default() };
        let record = framed(&event);
        // Field 1 is 8 bytes long, and field 3 a text of 13; a step of 0 is left out.
        let data = [&[0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 13][..], VERSION.as_bytes()].concat();
        assert_eq!(record[..8], (data.len() as u64).to_le_bytes());
        assert_eq!(record[12..12 + data.len()], data);
        assert_eq!(record.len(), 8 + 4 + data.len() + 4);
        assert_eq!(EventRecord::decode(&data[..]), Ok(event));
    }

    #[test]
    fn files_are_numbered_in_the_order_in_which_they_are_begun() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names: Vec<PathBuf> = (0..3)
            .map(|step| EventFile::create(folder.path(), step).expect("the disk has room").path)
            .collect();
        assert!(names.is_sorted() && names[2].ends_with("events.out.tfevents.0000000003.hrmc"), "{names:?}");
    }
}
