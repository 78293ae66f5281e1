//! What is done with arbitrary bytes as a file of each kind.
//!
//! A reader may refuse anything. It may not panic, take long, or take more memory than its bound.

use std::io;
use std::path::Path;
use std::sync::Arc;

use hrmc::internals::cli::project;
use hrmc::internals::data::puzzle::{expected_answer, parse_puzzle};
use hrmc::internals::data::{Dataset, PuzzleKind, SudokuSize, TrainLoader, maze_pairs, sudoku_pairs};
use hrmc::internals::device::{Places, devices};
use hrmc::internals::parity::Fixture;
use hrmc::internals::reading;

use crate::mutate::split;

/// A reader of files of one kind.
#[derive(Debug)]
pub struct Reader {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Files that make one input.
    pub parts: usize,
    /// Words of the format.
    pub words: &'static [&'static str],
    /// Corrects the length of a header after a change, where there is one.
    pub mend: fn(&mut Vec<u8>),
    /// Reads an input.
    pub read: fn(&[Vec<u8>]),
    /// Bytes of memory that it may take at once.
    pub memory: Memory,
}

/// How much memory a reader may take at once.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes, whatever the input.
    pub bytes: usize,
    /// Bytes for each byte of the input.
    pub for_each_byte: usize,
}

/// All readers.
pub const READERS: &[Reader] = &[
    Reader {
        name: "spec",
        parts: 1,
        words: SPEC_WORDS,
        mend: leave,
        read: |parts| crate::exercise(&parts[0]),
        memory: Memory { bytes: 32 << 20, for_each_byte: 4 << 10 },
    },
    Reader {
        name: "npy",
        parts: 1,
        words: &[
            "\u{93}NUMPY",
            "'descr': ",
            "'<i8'",
            "'|u1'",
            "'>i4'",
            "'<f4'",
            "'|b1'",
            "[('a', '<i4')]",
            "'<",
            "é",
            "'fortran_order': ",
            "True",
            "False",
            "'shape': ",
            "(",
            ")",
            "(3, 4)",
            ", ",
            "{",
            "}",
            "L",
            " ",
            "\n",
        ],
        mend: mend_array,
        read: |parts| array(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 64 },
    },
    Reader {
        name: "dataset",
        parts: 6,
        words: &[
            "\"pad_id\": ",
            "\"ignore_label_id\": ",
            "\"blank_identifier_id\": ",
            "\"vocab_size\": ",
            "\"seq_len\": ",
            "\"num_puzzle_identifiers\": ",
            "\"total_groups\": ",
            "\"mean_puzzle_examples\": ",
            "\"sets\": ",
            "\"all\"",
            "\"kind\": \"maze\"",
            "[",
            "]",
            "{",
            "}",
            ",",
            "null",
            "\u{feff}",
            "\"",
            "\\u0000",
            "\\ud800",
            "\"../x\"",
            "'shape': (1,)",
            "'<i8'",
            "\0\0\0\0",
        ],
        mend: mend_array,
        read: |parts| dataset(&parts[0], &parts[1..]),
        memory: Memory { bytes: 2 << 20, for_each_byte: 64 },
    },
    Reader {
        name: "csv",
        parts: 1,
        words: &[
            "source,question,answer,rating\n",
            ",",
            "\"",
            "\"\"",
            "\n",
            "\r\n",
            "\0",
            "\u{feff}",
            "1234",
            "....",
            "S",
            "G",
            "o",
            "#",
            " ",
            "é",
            "x,",
            ",3\n",
            "\"a\nb\"",
        ],
        mend: leave,
        read: |parts| csv(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 64 },
    },
    Reader {
        name: "puzzle",
        parts: 1,
        words: &[
            "1",
            "9",
            ".",
            "0",
            "_",
            " ",
            "\n",
            "\r\n",
            "|",
            "+",
            "-",
            ",",
            ";",
            "─",
            "│",
            "┼",
            "S",
            "G",
            "#",
            "o",
            "\u{feff}",
            "é",
            "\t",
            "\0",
            "123456789",
            "....",
            "\u{a0}",
        ],
        mend: leave,
        read: |parts| puzzle(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 256 },
    },
    Reader {
        name: "project",
        parts: 1,
        words: TOML_WORDS,
        mend: leave,
        read: |parts| project_file(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 1 << 10 },
    },
    Reader {
        name: "fixture",
        parts: 2,
        words: &[
            "\"model\": ",
            "\"hidden_size\": ",
            "\"num_heads\": ",
            "\"H_cycles\": ",
            "\"L_cycles\": ",
            "\"arch\": \"trm\"",
            "\"mlp_t\": true",
            "\"puzzle_emb_len\": ",
            "\"puzzle_emb_ndim\": ",
            "\"pos_encodings\": \"learned\"",
            "\"no_ACT_continue\": true",
            "\"expansion\": ",
            "\"batch\": ",
            "\"segments\": ",
            "\"noise\": {}",
            "null",
            "{",
            "}",
            "[",
            "]",
            "\"dtype\":\"I32\"",
            "\"F16\"",
            "\"data_offsets\":[0,4]",
            "\"shape\":[]",
            "\"__metadata__\":{}",
            "batch.0.inputs",
            "carry.z_H",
        ],
        mend: mend_tensors,
        read: |parts| fixture(&parts[0], &parts[1]),
        memory: Memory { bytes: 4 << 20, for_each_byte: 256 },
    },
];

/// Reads bytes as an input of a reader.
///
/// # Panics
///
/// If there is no such reader, or it breaks a promise.
pub fn read(name: &str, bytes: &[u8]) {
    let reader = READERS.iter().find(|reader| reader.name == name).expect("every target has a reader");
    (reader.read)(&split(bytes, reader.parts));
}

/// Pieces of specs.
const SPEC_WORDS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "#",
    "\n",
    "\r\n",
    ",",
    "=",
    "<-",
    ":",
    "+",
    "-",
    "*",
    "/",
    "\\",
    "_",
    "1",
    "1e999",
    "0",
    "-1",
    "99999999999999999999",
    "é",
    "“",
    "\u{feff}",
    "\u{a0}",
    "\0",
    " x ",
    " let a = 1\n",
    " model m {",
    " train {",
    " block b {",
    " network n = 2 * b\n",
    " state z\n",
    " segment {",
    " repeat 2 {",
    " l: repeat 3 {",
    " z <- n(z + x)\n",
    " gradient last 2 l\n",
    " predict q from z[0]\n",
    " halt bce {",
    " 5 epochs",
    "((((((((",
    "repeat 1 {repeat 1 {",
    "{{{{{{{{",
    "+1+1+1+1",
    "\"\\",
];

/// Pieces of TOML.
const TOML_WORDS: &[&str] = &[
    "spec = ",
    "device = ",
    "threads = ",
    "runs = ",
    "format = ",
    "seed = ",
    "overrides = ",
    "version = ",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\n",
    "\\",
    "\\u0000",
    "\\U00110000",
    "#",
    "1979-05-27T07:32:00Z",
    "inf",
    "nan",
    "0x",
    "1_000",
    "true",
    "a.b.c.d",
    "\u{feff}",
    "\0",
    "é",
    "tiny.hrm",
];

fn leave(_: &mut Vec<u8>) {}

/// Writes the length of the header of an array of version 1 where it belongs.
fn mend_array(bytes: &mut Vec<u8>) {
    if bytes.starts_with(b"\x93NUMPY\x01")
        && let Some(end) = bytes.iter().position(|&byte| byte == b'\n')
        && let Some(target) = bytes.get_mut(8..10)
    {
        target.copy_from_slice(&((end + 1).saturating_sub(10) as u16).to_le_bytes());
    }
}

/// Writes the length of the header of a file of tensors where it belongs.
fn mend_tensors(bytes: &mut Vec<u8>) {
    let end = bytes.windows(2).position(|pair| pair == b"}}").map(|at| at + 2);
    if let Some(end) = end.filter(|&end| end > 8 && bytes.get(8) == Some(&b'{')) {
        bytes[..8].copy_from_slice(&(end as u64 - 8).to_le_bytes());
    }
}

/// Returns the text that a reader is given, if it is given one.
fn text(bytes: &[u8]) -> Option<String> {
    reading::decode(bytes.to_vec()).ok()
}

/// The metadata of the dataset that an array is read for.
const METADATA: &str = "{\"pad_id\": 0, \"ignore_label_id\": 0, \"blank_identifier_id\": 0, \"vocab_size\": 6, \
     \"seq_len\": 4, \"num_puzzle_identifiers\": 3, \"total_groups\": 2, \"mean_puzzle_examples\": 1.0, \
     \"sets\": [\"all\"]}";

/// Two rows of four tokens.
const TOKENS: &[u8] =
    b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4), }\n\
    \x01\x02\x03\x04\x05\x01\x02\x03";

fn array(bytes: &[u8]) {
    let all: [&[u8]; 5] = [bytes; 5];
    read_dataset(METADATA, all);
    read_dataset(METADATA, [TOKENS, TOKENS, bytes, bytes, bytes]);
}

fn dataset(metadata: &[u8], arrays: &[Vec<u8>]) {
    let [inputs, labels, identifiers, puzzles, groups] = arrays else { return };
    if let Some(metadata) = text(metadata) {
        read_dataset(&metadata, [inputs, labels, identifiers, puzzles, groups]);
    }
}

fn read_dataset(metadata: &str, arrays: [&[u8]; 5]) {
    let names = ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"];
    let open = |file: &Path| -> io::Result<(Box<dyn io::Read>, u64)> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let place = names.iter().position(|known| name.ends_with(&format!("__{known}.npy")));
        let bytes = place.map(|place| arrays[place].to_vec()).ok_or(io::ErrorKind::NotFound)?;
        let length = bytes.len() as u64;
        Ok((Box::new(io::Cursor::new(bytes)), length))
    };
    match Dataset::read(Path::new("train/dataset.json"), metadata, &open) {
        Ok(dataset) => {
            PuzzleKind::of(dataset.metadata());
            dataset.fingerprint();
            (0..dataset.examples().min(4))
                .for_each(|example| drop(dataset.labels(example).collect::<Vec<_>>()));
            if let Ok(mut loader) = TrainLoader::new(Arc::new(dataset), None, 0) {
                loader.next_rows(3);
            }
        }
        Err(error) => said(&error),
    }
}

fn csv(bytes: &[u8]) {
    let file = Path::new("train.csv");
    let sudoku = [(SudokuSize::Four, None), (SudokuSize::Nine, Some(3))];
    for (size, lowest) in sudoku {
        if let Err(error) = sudoku_pairs(file, bytes, size, lowest) {
            said(&error);
        }
    }
    if let Err(error) = maze_pairs(file, bytes, &mut None) {
        said(&error);
    }
}

fn puzzle(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let sudoku = SudokuSize::ALL.into_iter().map(PuzzleKind::Sudoku);
    for kind in sudoku.chain([PuzzleKind::Maze { side: 4 }, PuzzleKind::Maze { side: 30 }]) {
        match parse_puzzle(kind, &text) {
            Ok(question) => {
                let answer = expected_answer(kind, &question);
                kind.draw(&question, answer.as_deref());
            }
            Err(error) => said(&error),
        }
    }
}

fn project_file(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = project::parse(Path::new("hrmc.toml"), &text, &devices(&Places::default())) {
        said(&format!("{error:?}"));
    }
}

fn fixture(json: &[u8], tensors: &[u8]) {
    let Some(json) = text(json) else { return };
    if let Err(error) = Fixture::read(Path::new("f.json"), &json, tensors) {
        said(&error);
    }
}

/// Writes a message, which must be one: not empty, and not as long as the file.
fn said(error: &impl std::fmt::Display) {
    const LONGEST: usize = 4 << 10;
    let message = error.to_string();
    assert!(!message.is_empty() && message.len() < LONGEST, "no message for a user: {} bytes", message.len());
}
