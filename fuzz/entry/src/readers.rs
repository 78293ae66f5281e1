//! What is done with arbitrary bytes as a file of each kind.
//!
//! A reader may refuse anything. It may not panic, take long, or take more memory than its bound.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hrmc::Spec;
use hrmc::internals::cli::project;
use hrmc::internals::data::arc::{ArcGrid, CanvasPlace, crop, encode, parse_tasks};
use hrmc::internals::data::puzzle::{expected_answer, parse_puzzle};
use hrmc::internals::data::{
    DataError, Dataset, IGNORED_LABEL, PuzzleKind, Questions, Split, SudokuSize, TrainLoader, maze_pairs,
    sudoku_pairs,
};
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::{EngineOptions, Places, devices};
use hrmc::internals::lower::Sizes;
use hrmc::internals::parity::Fixture;
use hrmc::internals::reading;
use hrmc::internals::store::RunManifest;
use hrmc::internals::store::checkpoint::{AVERAGE, Before, STATE, STATE_TENSORS, WEIGHTS};
use hrmc::internals::store::log::parse_lines;
use hrmc::internals::store::times::readable_times;
use hrmc::internals::train::{Data, Record, Trainer, TrainerParts};

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
    /// Inputs of the short run, fewer for a slow reader.
    pub few: u64,
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
        few: 1_000,
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
        few: 3_000,
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
        few: 3_000,
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
        few: 3_000,
    },
    Reader {
        name: "arc",
        parts: 1,
        words: &[
            "\"train\": ",
            "\"test\": ",
            "\"input\": ",
            "\"output\": ",
            "\"name\": \"a\", ",
            "\"a\": {",
            "\"a_t4_0614732958\": {",
            "{\"input\": [[1]], \"output\": [[2]]}",
            "[[0, 1], [2, 3]]",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "[], ",
            "0, ",
            "9",
            "10",
            "null",
            ",",
            ":",
            "\"",
            "\\u0000",
            "\\ud800",
            "\u{feff}",
            "\0",
            "\n",
        ],
        mend: leave,
        read: |parts| arc(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 64 },
        few: 3_000,
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
        few: 1_000,
    },
    Reader {
        name: "questions",
        parts: 1,
        words: &[
            "{\"question\": ",
            "\"input\": ",
            "\"answer\": ",
            "\"output\": ",
            "\"1.....2......4..\"",
            "[2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 5, 1, 1]",
            "[[2, 1], [1, 2]]",
            "question,answer\n",
            "1.....2......4..",
            "1234341221434321",
            "S..#o#.##oo##ooG",
            "{",
            "}",
            "[",
            "]",
            "[[[[[[[[",
            "null",
            ", ",
            ",",
            ":",
            "\"",
            "\"\"",
            "\n",
            "\r\n",
            "\\u0000",
            "\\ud800",
            "\u{feff}",
            "\0",
            "é",
            "+--+\n",
            "|",
            "'shape': (1, 16)",
            "'<i8'",
        ],
        mend: mend_array,
        read: |parts| questions(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 256 },
        few: 1_000,
    },
    Reader {
        name: "project",
        parts: 1,
        words: TOML_WORDS,
        mend: leave,
        read: |parts| project_file(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 1 << 10 },
        few: 3_000,
    },
    Reader {
        name: "manifest",
        parts: 1,
        words: TOML_WORDS,
        mend: leave,
        read: |parts| manifest(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 1 << 10 },
        few: 3_000,
    },
    Reader {
        name: "metrics",
        parts: 1,
        words: &[
            "{\"kind\":\"train\",",
            "\"kind\":\"evaluation\"",
            "\"step\":",
            "\"epochs\":",
            "\"lr\":",
            "\"loss\":",
            "\"count\":",
            "\"accuracy\":",
            "null",
            "{",
            "}",
            "[",
            "]",
            "\n",
            ",",
            ":",
            "\"",
            "1e-3",
            "\u{feff}",
            "\\u0000",
            "\0",
        ],
        mend: leave,
        read: |parts| metrics(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 128 },
        few: 3_000,
    },
    Reader {
        name: "times",
        parts: 1,
        words: &[
            "{\"kind\":\"train\",",
            "\"evaluation\"",
            "\"step\":",
            "\"seconds\":",
            "\"rows_per_second\":",
            "\"resident_bytes\":",
            "null",
            "-1",
            "1e400",
            "{",
            "}",
            "\n",
            ",",
            ":",
            "\"",
            "\0",
        ],
        mend: leave,
        read: |parts| times(&parts[0]),
        memory: Memory { bytes: 1 << 20, for_each_byte: 128 },
        few: 3_000,
    },
    Reader {
        name: "checkpoint",
        parts: 4,
        words: &[
            "\"format\": 2",
            "\"trainer\": {",
            "\"step\": ",
            "\"steps\": [",
            "\"halted\": [",
            "\"loader\": {",
            "\"epoch\": ",
            "\"draw_position\": ",
            "\"exact_accuracy\": null",
            "null",
            "true",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"dtype\":\"I32\"",
            "\"F16\"",
            "\"data_offsets\":[0,4]",
            "\"shape\":[]",
            "\"__metadata__\":{}",
            "\u{feff}",
            "\0\0\0\0",
            "train.tokens",
        ],
        mend: mend_tensors,
        read: checkpoint,
        memory: Memory { bytes: 2 << 20, for_each_byte: 128 },
        few: 3_000,
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
        few: 3_000,
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
    read_dataset(METADATA, &[bytes; 6]);
    read_dataset(METADATA, &[TOKENS, TOKENS, bytes, bytes, bytes, bytes]);
}

fn dataset(metadata: &[u8], arrays: &[Vec<u8>]) {
    let [inputs, labels, identifiers, puzzles, groups] = arrays else { return };
    if let Some(metadata) = text(metadata) {
        read_dataset(&metadata, &[inputs, labels, identifiers, puzzles, groups]);
    }
}

/// Reads a dataset of these arrays, of which the last one may be missing.
fn read_dataset(metadata: &str, arrays: &[&[u8]]) {
    let names = ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices", "ratings"];
    let open = |file: &Path| -> io::Result<(Box<dyn io::Read>, u64)> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let place = names.iter().position(|known| name.ends_with(&format!("__{known}.npy")));
        let bytes = place.and_then(|place| arrays.get(place)).ok_or(io::ErrorKind::NotFound)?.to_vec();
        let length = bytes.len() as u64;
        Ok((Box::new(io::Cursor::new(bytes)), length))
    };
    match Dataset::read(Path::new("train/dataset.json"), metadata, &open) {
        Ok(dataset) => {
            let _ = dataset.kind();
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

fn arc(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for (file, split) in [("tasks.json", Split::Train), ("evaluation.json", Split::Test)] {
        match parse_tasks(Path::new(file), &text, split) {
            Ok(tasks) => {
                let pairs = tasks.iter().flat_map(|task| task.train.iter().chain(&task.test));
                let grids = pairs.flat_map(|pair| std::iter::once(&pair.input).chain(&pair.output));
                grids.for_each(|grid: &ArcGrid| {
                    assert_eq!(crop(&encode(Some(grid), CanvasPlace::default())).as_ref(), Some(grid));
                });
            }
            Err(error) => said(&error),
        }
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

/// Reads questions in every form that a name can tell, and for every kind that is read in another way.
fn questions(bytes: &[u8]) {
    let four = PuzzleKind::Sudoku(SudokuSize::Four);
    let maze = PuzzleKind::Maze { side: 4 };
    let tokens = PuzzleKind::Tokens { length: 16, vocab: 300 };
    let grid = PuzzleKind::Grid { rows: 2, columns: 8, vocab: 6 };
    let text = |name: &str, kind| {
        let input = Box::new(io::Cursor::new(bytes.to_vec()));
        ask(Questions::of_text(Path::new(name), kind, input), kind, bytes.len());
    };
    for kind in [four, PuzzleKind::Sudoku(SudokuSize::Sixteen), maze, tokens, grid, PuzzleKind::Arc] {
        text("standard input", kind);
    }
    for kind in [four, tokens, PuzzleKind::Arc] {
        text("questions.jsonl", kind);
    }
    for kind in [four, maze, grid] {
        text("questions.csv", kind);
    }
    for kind in [four, grid] {
        let input = Box::new(io::Cursor::new(bytes.to_vec()));
        let array = Questions::of_array(Path::new("questions.npy"), kind, input, bytes.len() as u64);
        ask(array, kind, bytes.len());
    }
}

/// Reads all questions, of which there are no more than bytes, and checks that they are questions of a kind.
fn ask(questions: Result<Questions, DataError>, kind: PuzzleKind, most: usize) {
    let mut questions = match questions {
        Ok(questions) => questions,
        Err(error) => return said(&error),
    };
    for _ in 0..=most {
        match questions.next_question() {
            Ok(Some(Ok(question))) => {
                let is_token = |token: &i32| (0..kind.vocab_size() as i32).contains(token);
                let length = kind.seq_len();
                assert_eq!((question.tokens.len(), question.labels.len()), (length, length));
                assert!(question.tokens.iter().all(is_token), "a token that is none: {question:?}");
                let is_label = |label: &i32| *label == IGNORED_LABEL || is_token(label);
                assert!(question.labels.iter().all(is_label), "a label that is none: {question:?}");
            }
            Ok(Some(Err(reason))) => said(&reason),
            Ok(None) => return,
            Err(error) => return said(&error),
        }
    }
    panic!("there are more questions than bytes");
}

fn project_file(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = project::parse(Path::new("hrmc.toml"), &text, &devices(&Places::default())) {
        said(&format!("{error:?}"));
    }
}

fn manifest(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = RunManifest::parse(Path::new("run.toml"), &text) {
        said(&error);
    }
}

fn metrics(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = parse_lines(Path::new("metrics.jsonl"), &text) {
        said(&error);
    }
}

fn times(bytes: &[u8]) {
    for line in readable_times(&String::from_utf8_lossy(bytes)) {
        assert!(line.seconds >= 0.0 && line.rows_per_second.is_finite(), "{line:?}");
    }
}

/// A model whose checkpoints have a few kilobytes.
const NANO: &str = "model nano {
  tokens  { vocab = 6, positions = 9 }
  puzzles { width = 2 }
  block encoder { hidden = 2, heads = 1, mlp = swiglu(expansion = 1, multiple_of = 1) }
  network low  = 1 * encoder
  network high = 1 * encoder
  state z_low, z_high
  segment {
    z_low  <- low(z_low + z_high + x)
    z_high <- high(z_high + z_low)
  }
  predict tokens from z_high
  predict q      from z_high[0]
  halt q_learning { max_segments = 2, explore = 0.1 }
}
train {
  data      = maze(size = 3, min_path = 3, train = 4, test = 2)
  optimizer = adam_atan2(lr = 1e-3)
  puzzles   = sign_sgd(lr = 1e-3)
  ema       = 0.9
  batch     = 2
  steps     = 4
}
";

/// The files of a checkpoint, in the order of the parts of an input.
const CHECKPOINT_FILES: [&str; 4] = [STATE, WEIGHTS, AVERAGE, STATE_TENSORS];

thread_local! {
    /// The trainer that checkpoints are read into.
    static TRAINER: RefCell<Option<Trainer>> = const { RefCell::new(None) };
}

/// Returns a trainer of the model and of the data that checkpoints are of.
fn trainer() -> Trainer {
    let spec = Spec::parse("nano.hrm", NANO).expect("it is a spec");
    let data = Data::of(&spec, Path::new(".")).expect("mazes of this size can be made");
    let train = spec.model().train.as_ref().expect("it trains");
    Trainer::new(TrainerParts {
        model: spec.model().clone(),
        device: &Cpu,
        engine: EngineOptions { threads: 1 },
        sizes: Sizes { batch: train.batch, puzzle_rows: data.puzzle_rows(spec.model()) },
        evaluate_batch: train.batch,
        data: Arc::clone(data.train()),
        augment: None,
        seed: train.seed,
        total_steps: 4,
    })
    .expect("it fits anywhere")
}

/// Makes what a reader needs besides its input, for the thread that calls this.
pub fn prepare(reader: &Reader) {
    if reader.name == "checkpoint" {
        TRAINER.with_borrow_mut(|kept| {
            kept.get_or_insert_with(trainer);
        });
    }
}

/// Returns valid inputs of a reader that no folder can have: they depend on the hashes of this version.
pub fn fresh(reader: &Reader) -> Vec<Vec<Vec<u8>>> {
    if reader.name != "checkpoint" {
        return Vec::new();
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut trainer = trainer();
    let saved = ["first", "second"].map(|name| {
        trainer.step().expect("the processor does not fail");
        let folder = folder.path().join(name);
        trainer.save(&folder, Before::Removed, Record::default()).expect("there is room");
        let read = |file: &str| std::fs::read(folder.join(file)).expect("it was saved");
        // Without checksums, the format is the first one.
        let state =
            String::from_utf8(read(STATE)).expect("it is text").replacen("\"format\": 2", "\"format\": 1", 1);
        let [_, tensors @ ..] = CHECKPOINT_FILES;
        std::iter::once(state.into_bytes()).chain(tensors.map(read)).collect()
    });
    saved.into()
}

fn checkpoint(parts: &[Vec<u8>]) {
    let bytes = |name: &str| {
        let place = CHECKPOINT_FILES.iter().position(|file| *file == name);
        place.map_or_else(Vec::new, |place| parts[place].clone())
    };
    TRAINER.with_borrow_mut(|kept| {
        let trainer = kept.get_or_insert_with(trainer);
        if let Err(error) = trainer.restore_from_memory(&bytes) {
            said(&error);
        }
    });
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
