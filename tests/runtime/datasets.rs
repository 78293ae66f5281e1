//! Dataset folders: what is read, what is refused and with which message, what is written.

use std::fs;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::Path;

use hrmc::internals::data::{
    BuiltDataset, Copies, DataError, Dataset, DatasetBuilder, Existing, IGNORED_LABEL, Metadata, Pair,
    PuzzleBuild, PuzzleKind, PuzzleSplits, Split, SplitToWrite, SudokuSize, TestBatches, TokenType,
    generate_sudoku, write_dataset,
};
use npyz::WriterBuilder;
use proptest::prelude::{Strategy, any, prop, proptest};

const KIND: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);

/// Two training groups of three puzzles each, and two test puzzles.
fn small_build() -> PuzzleBuild {
    let mut pairs = generate_sudoku(SudokuSize::Four, 8, 4, 0).unwrap();
    let test: Vec<Pair> = pairs.split_off(2);
    PuzzleBuild::new(KIND, PuzzleSplits { train: pairs, test }, Copies::Symmetries(2), 0).unwrap()
}

fn small_dataset() -> BuiltDataset {
    small_build().in_memory().unwrap()
}

fn write_array<T: npyz::Serialize>(
    file: &Path,
    descr: &str,
    order: npyz::Order,
    shape: &[u64],
    values: &[T],
) {
    let mut writer = npyz::WriteOptions::new()
        .dtype(npyz::DType::Plain(descr.parse().unwrap()))
        .order(order)
        .shape(shape)
        .writer(BufWriter::new(fs::File::create(file).unwrap()))
        .begin_nd()
        .unwrap();
    values.iter().for_each(|value| writer.push(value).unwrap());
    writer.finish().unwrap();
}

/// Returns what opening the training split says after `damage` has changed a file of it.
fn complaint(damage: impl FnOnce(&Path)) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    small_dataset().write(&folder, Existing::Refuse).unwrap();
    assert!(Dataset::open(&folder, Split::Train).is_ok());
    damage(&folder.join("train"));
    let message = Dataset::open(&folder, Split::Train).unwrap_err().to_string();
    message.replace(&scratch.path().display().to_string(), "DIR")
}

fn complaint_about_metadata(from: &str, to: &str) -> String {
    complaint(|train| {
        let file = train.join("dataset.json");
        let json = fs::read_to_string(&file).unwrap();
        assert!(json.contains(from), "{json}");
        fs::write(file, json.replace(from, to)).unwrap();
    })
}

fn complaint_about_list(array: &str, values: &[i32]) -> String {
    complaint(|train| {
        let file = train.join(format!("all__{array}.npy"));
        write_array(&file, "<i4", npyz::Order::C, &[values.len() as u64], values);
    })
}

#[test]
fn the_metadata_of_a_written_dataset_is_one_line_in_the_published_order() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    small_dataset().write(&folder, Existing::Refuse).unwrap();
    assert_eq!(
        fs::read_to_string(folder.join("train/dataset.json")).unwrap(),
        "{\"pad_id\": 0, \"ignore_label_id\": 0, \"blank_identifier_id\": 0, \"vocab_size\": 6, \"seq_len\": 16, \
         \"num_puzzle_identifiers\": 1, \"total_groups\": 2, \"mean_puzzle_examples\": 1.0, \"sets\": [\"all\"], \
         \"kind\": \"sudoku\"}"
    );
    assert_eq!(fs::read_to_string(folder.join("identifiers.json")).unwrap(), "[\"<blank>\"]");
}

#[test]
fn every_integer_type_gives_the_same_dataset() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    let built = small_dataset();
    built.write(&folder, Existing::Refuse).unwrap();
    let tokens: Vec<i32> =
        (0..6).flat_map(|example| built.train.inputs(example).collect::<Vec<_>>()).collect();
    let file = folder.join("train/all__inputs.npy");
    let shape = [6, 16];

    macro_rules! check {
        ($($descr:literal: $type:ty),*) => {$(
            let values: Vec<$type> = tokens.iter().map(|&token| token as $type).collect();
            write_array(&file, $descr, npyz::Order::C, &shape, &values);
            assert_eq!(Dataset::open(&folder, Split::Train).unwrap(), built.train, $descr);
        )*};
    }
    check!("|u1": u8, "|i1": i8, "<u2": u16, ">u2": u16, "<i2": i16, ">i2": i16, "<u4": u32, ">u4": u32,
        "<i4": i32, ">i4": i32, "<u8": u64, ">u8": u64, "<i8": i64, ">i8": i64);
}

#[test]
fn missing_and_truncated_files_are_named() {
    assert_eq!(
        complaint(|train| fs::remove_file(train.join("dataset.json")).unwrap()),
        "cannot read `DIR/puzzles/train/dataset.json`: there is no such file or folder"
    );
    assert_eq!(
        complaint(|train| fs::remove_file(train.join("all__labels.npy")).unwrap()),
        "cannot read `DIR/puzzles/train/all__labels.npy`: there is no such file or folder"
    );
    let shorten = |array: &'static str, bytes: u64| {
        complaint(move |train| {
            let file = fs::OpenOptions::new().write(true).open(train.join(array)).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length - bytes).unwrap();
        })
    };
    assert_eq!(
        shorten("all__inputs.npy", 8 * 20),
        "`DIR/puzzles/train/all__inputs.npy`, row 4 (counted from 0): the file ends here: it has 608 bytes of \
         values, but shape [6, 16] of type `<i8` needs 768"
    );
    assert_eq!(
        shorten("all__puzzle_indices.npy", 1),
        "`DIR/puzzles/train/all__puzzle_indices.npy`, row 6 (counted from 0): the file ends here: it has 27 bytes \
         of values, but shape [7] of type `<i4` needs 28"
    );
    assert!(
        shorten("all__inputs.npy", 8 * 6 * 16 + 60)
            .starts_with("`DIR/puzzles/train/all__inputs.npy`: not a numpy array: ")
    );
}

#[test]
fn arrays_of_the_wrong_kind_are_refused() {
    assert_eq!(
        complaint(|train| fs::write(train.join("all__inputs.npy"), "question,answer\n").unwrap()),
        "`DIR/puzzles/train/all__inputs.npy`: not a numpy array: it does not begin like one"
    );
    let inputs = |descr: &'static str, order, shape: &'static [u64]| {
        complaint(move |train| {
            let values = vec![1_i64; shape.iter().product::<u64>() as usize];
            write_array(&train.join("all__inputs.npy"), descr, order, shape, &values);
        })
    };
    assert_eq!(
        inputs("<i8", npyz::Order::C, &[6, 15]),
        "`DIR/puzzles/train/all__inputs.npy`: has rows of 15 tokens; `seq_len` of `dataset.json` is 16"
    );
    assert_eq!(
        inputs("<i8", npyz::Order::C, &[96]),
        "`DIR/puzzles/train/all__inputs.npy`: has shape [96]; expected [examples, 16]"
    );
    assert_eq!(
        inputs("<i8", npyz::Order::C, &[5, 16]),
        "`DIR/puzzles/train/all__labels.npy`: has 6 rows, but `DIR/puzzles/train/all__inputs.npy` has 5"
    );
    assert_eq!(
        inputs("<i8", npyz::Order::Fortran, &[6, 16]),
        "`DIR/puzzles/train/all__inputs.npy`: is stored column by column (Fortran order); save it row by row, for \
         example with `numpy.ascontiguousarray`"
    );
    assert_eq!(
        complaint(|train| {
            write_array(&train.join("all__labels.npy"), "<f4", npyz::Order::C, &[6, 16], &[1.0_f32; 96]);
        }),
        "`DIR/puzzles/train/all__labels.npy`: holds values of type `<f4`; expected integers"
    );
    assert_eq!(
        complaint(|train| {
            let file = train.join("all__labels.npy");
            let mut bytes = fs::read(&file).unwrap();
            bytes.push(0);
            fs::write(file, bytes).unwrap();
        }),
        "`DIR/puzzles/train/all__labels.npy`: has 769 bytes of values, but shape [6, 16] of type `<i8` needs only 768"
    );
}

#[test]
fn a_value_out_of_range_is_reported_with_its_row() {
    let tokens = |array: &'static str, index: usize, token: i64| {
        complaint(move |train| {
            let mut values = vec![1_i64; 96];
            values[index] = token;
            write_array(&train.join(format!("all__{array}.npy")), "<i8", npyz::Order::C, &[6, 16], &values);
        })
    };
    assert_eq!(
        tokens("inputs", 16 * 2 + 5, 6),
        "`DIR/puzzles/train/all__inputs.npy`, row 2 (counted from 0): token 6 is outside the vocabulary of 6, in \
         column 5"
    );
    assert_eq!(
        tokens("labels", 95, -100),
        "`DIR/puzzles/train/all__labels.npy`, row 5 (counted from 0): label -100 is outside the vocabulary of 6, in \
         column 15"
    );
    assert_eq!(
        complaint_about_list("puzzle_identifiers", &[0, 0, 1, 0, 0, 0]),
        "`DIR/puzzles/train/all__puzzle_identifiers.npy`, row 2 (counted from 0): puzzle identifier 1 is not below 1"
    );
}

#[test]
fn indices_begin_at_0_increase_and_end_right() {
    let puzzles = |values: &[i32]| complaint_about_list("puzzle_indices", values);
    assert_eq!(
        puzzles(&[0, 1, 2, 3, 4, 5]),
        "`DIR/puzzles/train/all__puzzle_indices.npy`: has 6 entries; expected 7, one more than the puzzles in \
         `DIR/puzzles/train/all__puzzle_identifiers.npy`"
    );
    let row =
        |row: usize| format!("`DIR/puzzles/train/all__puzzle_indices.npy`, row {row} (counted from 0): ");
    assert_eq!(puzzles(&[1, 2, 3, 4, 5, 6, 7]), row(0) + "the first index is 1; expected 0");
    assert_eq!(puzzles(&[0, 1, 2, 2, 4, 5, 6]), row(3) + "index 2 does not increase over 2 before it");
    assert_eq!(puzzles(&[0, 1, 2, 3, 4, 5, 7]), row(6) + "index 7 is beyond the end of the 6 examples");
    let groups = |values: &[i32]| complaint_about_list("group_indices", values);
    let row =
        |row: usize| format!("`DIR/puzzles/train/all__group_indices.npy`, row {row} (counted from 0): ");
    assert_eq!(groups(&[0, 3, 5]), row(2) + "the last index is 5; expected 6, all puzzles");
    assert_eq!(groups(&[]), row(0) + "the list is empty; expected at least a 0");
    assert_eq!(
        groups(&[0, 6]),
        "`DIR/puzzles/train/dataset.json`: `total_groups` is 2, but the number of groups in the sets is 1"
    );
}

#[test]
fn metadata_that_contradicts_itself_or_the_arrays_is_refused() {
    let reason = |from, to| {
        let message = complaint_about_metadata(from, to);
        message.strip_prefix("`DIR/puzzles/train/dataset.json`: ").unwrap().to_owned()
    };
    assert_eq!(reason("\"pad_id\": 0", "\"pad_id\": 6"), "`pad_id` 6 is outside the vocabulary of 6");
    assert_eq!(
        reason("\"blank_identifier_id\": 0", "\"blank_identifier_id\": 1"),
        "`blank_identifier_id` 1 is not one of the 1 puzzle identifiers"
    );
    assert_eq!(
        reason("\"vocab_size\": 6", "\"vocab_size\": 0"),
        "`vocab_size` is 0; expected a positive 32-bit number"
    );
    assert_eq!(reason("\"all\"", ""), "`sets` is empty; expected at least one set");
    assert_eq!(reason("\"all\"", "\"../all\""), "`sets` has `../all`, which cannot begin the name of a file");
    assert_eq!(reason("\"all\"", "\"all\", \"all\""), "`sets` has `all` twice");
    assert_eq!(
        reason("examples\": 1.0", "examples\": 2.0"),
        "`mean_puzzle_examples` is 2, but the sets have 6 examples in 6 puzzles, which is 1"
    );
    assert_eq!(
        reason("\"seq_len\"", "\"length\""),
        "is not dataset metadata: line 1, column 204: `seq_len` is missing"
    );
    assert_eq!(
        reason("\"vocab_size\": 6", "\"vocab_size\": 5"),
        "`kind` is `sudoku`, but rows of 16 tokens of 5 kinds are no Sudoku, which has 16, 36, 81 or 256 cells and two \
         kinds more than a side"
    );
    let tokens_outside = complaint(|train| {
        let file = train.join("dataset.json");
        let json = fs::read_to_string(&file).unwrap();
        fs::write(file, json.replace("\"vocab_size\": 6", "\"vocab_size\": 5").replace("sudoku", "tokens"))
            .unwrap();
    });
    assert_eq!(
        tokens_outside,
        "`DIR/puzzles/train/all__inputs.npy`, row 0 (counted from 0): token 5 is outside the vocabulary of 5, in \
         column 6; 13 more in this file are outside of it"
    );
}

#[test]
fn a_file_of_another_kind_is_named_and_a_byte_order_mark_is_left_out() {
    let written = |content: &'static [u8]| {
        complaint(move |train| fs::write(train.join("all__inputs.npy"), content).unwrap())
    };
    assert_eq!(
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        "cannot read `DIR/puzzles/train/all__inputs.npy`: it is a pointer of Git LFS, not the file itself; fetch it \
         with `git lfs pull`"
    );
    assert_eq!(
        written(b"PK\x03\x04\x14\0\0\0"),
        "cannot read `DIR/puzzles/train/all__inputs.npy`: it is a zip, as `numpy.savez` writes it (an `.npz`); save \
         each of its arrays with `numpy.save`"
    );
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    small_dataset().write(&folder, Existing::Refuse).unwrap();
    let file = folder.join("train/dataset.json");
    let json = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("\u{feff}{json}")).unwrap();
    assert!(Dataset::open(&folder, Split::Train).is_ok());
}

#[test]
fn ratings_may_be_there_and_change_no_fingerprint() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    let built = small_dataset();
    built.write(&folder, Existing::Refuse).unwrap();
    let file = folder.join("train/all__ratings.npy");
    write_array(&file, "<i4", npyz::Order::C, &[6], &[7, 0, -3, 7, 7, 9]);
    let rated = Dataset::open(&folder, Split::Train).unwrap();
    assert_eq!((rated.rating(0), rated.rating(2), rated.rating(5)), (Some(7), Some(-3), Some(9)));
    assert_eq!(built.train.rating(0), None);
    assert_eq!(rated.fingerprint(), built.train.fingerprint());
    let message = complaint(|train| {
        write_array(&train.join("all__ratings.npy"), "<i4", npyz::Order::C, &[5], &[1; 5]);
    });
    assert_eq!(
        message,
        "`DIR/puzzles/train/all__ratings.npy`: has 5 ratings, but `DIR/puzzles/train/all__inputs.npy` has 6 rows"
    );
}

#[test]
fn unknown_metadata_is_ignored_and_the_ignored_label_may_be_null() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    small_dataset().write(&folder, Existing::Refuse).unwrap();
    let file = folder.join("train/dataset.json");
    let json = fs::read_to_string(&file).unwrap();
    let json = json.replace("{\"pad_id\"", "{\"total_puzzles\": 6, \"pad_id\"");
    let json = json.replace("\"kind\": \"sudoku\"", "\"kind\": 3");
    fs::write(&file, json.replace("\"ignore_label_id\": 0", "\"ignore_label_id\": null")).unwrap();
    let metadata = Dataset::open(&folder, Split::Train).unwrap().metadata().clone();
    assert_eq!((metadata.ignore_label_id, metadata.kind), (None, None));
}

#[test]
fn sets_are_read_one_after_the_other_and_batched_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    let built = small_dataset();
    built.write(&folder, Existing::Refuse).unwrap();
    let test = folder.join("test");
    for array in ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"] {
        fs::copy(test.join(format!("all__{array}.npy")), test.join(format!("more__{array}.npy"))).unwrap();
    }
    let json = fs::read_to_string(test.join("dataset.json")).unwrap();
    let json = json.replace("[\"all\"]", "[\"all\", \"more\"]").replace("groups\": 2", "groups\": 4");
    fs::write(test.join("dataset.json"), json).unwrap();

    let dataset = Dataset::open(&folder, Split::Test).unwrap();
    assert_eq!((dataset.examples(), dataset.puzzles(), dataset.groups()), (4, 4, 4));
    let batches: Vec<_> = TestBatches::new(&dataset, 3).collect();
    assert_eq!(
        batches.iter().map(|batch| (batch.set, batch.real_rows)).collect::<Vec<_>>(),
        [(0, 2), (1, 2)]
    );
    assert_eq!(batches[0].inputs, batches[1].inputs);
    assert_eq!(batches[0].labels[32..], [IGNORED_LABEL; 16]);

    let copy = scratch.path().join("copy");
    let split = SplitToWrite { split: Split::Test, dataset: &dataset, tokens: TokenType::U1 };
    write_dataset(&copy, &[split], &["<blank>".to_owned()], Existing::Refuse).unwrap();
    assert_eq!(Dataset::open(&copy, Split::Test).unwrap(), dataset);
}

#[test]
fn a_build_that_is_stopped_leaves_what_was_there() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    small_dataset().write(&folder, Existing::Refuse).unwrap();
    let marked = folder.join("identifiers.json");
    fs::write(&marked, "[]").unwrap();
    let build = small_build();
    let write = |stop_at: usize| {
        let mut asked = 0;
        let written = build.write(&folder, Existing::Replace, &mut || {
            asked += 1;
            if asked == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (written.unwrap().is_break(), asked)
    };
    // Two groups in each of two splits, and the move at the end.
    for stop_at in 1..=5 {
        assert_eq!(write(stop_at), (true, stop_at));
        assert_eq!(fs::read_to_string(&marked).unwrap(), "[]", "the old dataset is there");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no scratch folder is left behind");
    }
    assert_eq!(write(6), (false, 5));
    assert_ne!(fs::read_to_string(&marked).unwrap(), "[]");
}

#[test]
fn nothing_but_a_dataset_is_ever_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("puzzles");
    let built = small_dataset();
    let message = |error: DataError| error.to_string().replace(&scratch.path().display().to_string(), "DIR");
    built.write(&folder, Existing::Refuse).unwrap();
    assert_eq!(
        message(built.write(&folder, Existing::Refuse).unwrap_err()),
        "`DIR/puzzles` already holds a dataset; choose another folder, or replace it with `--replace`"
    );
    built.write(&folder, Existing::Replace).unwrap();
    assert_eq!(Dataset::open(&folder, Split::Train).unwrap(), built.train);

    fs::write(folder.join("thesis.txt"), "").unwrap();
    assert_eq!(
        message(built.write(&folder, Existing::Replace).unwrap_err()),
        "`DIR/puzzles` has `thesis.txt`, which is not part of a dataset; choose another folder"
    );
    fs::create_dir(scratch.path().join("empty")).unwrap();
    built.write(scratch.path().join("empty"), Existing::Refuse).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty", "puzzles"], "no scratch folder is left behind");
}

#[test]
fn a_token_that_does_not_fit_in_a_byte_is_not_written() {
    let mut builder = DatasetBuilder::new(Metadata::new(1000, 2)).unwrap();
    builder.add_example(&[1, 999], &[1, 300]).unwrap();
    builder.end_puzzle(0).unwrap();
    builder.end_group().unwrap();
    let dataset = builder.finish().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("wide");
    let write = |tokens| {
        let split = SplitToWrite { split: Split::Train, dataset: &dataset, tokens };
        write_dataset(&folder, &[split], &["<blank>".to_owned()], Existing::Refuse)
    };
    let message = write(TokenType::U1).unwrap_err().to_string();
    assert!(message.ends_with("token 999 does not fit in one byte"), "{message}");
    assert!(!folder.exists());
    write(TokenType::I8).unwrap();
    assert_eq!(Dataset::open(&folder, Split::Train).unwrap(), dataset);
}

#[test]
fn a_dataset_of_ones_own_is_checked_as_it_is_built() {
    let mut builder = DatasetBuilder::new(Metadata::new(3, 2)).unwrap();
    let message = |result: Result<(), DataError>| result.unwrap_err().to_string();
    assert_eq!(
        message(builder.add_example(&[1], &[1, 2])),
        "`inputs`, row 0 (counted from 0): has length 1; expected 2"
    );
    assert_eq!(
        message(builder.add_example(&[1, 2], &[1, 3])),
        "`labels`, row 0 (counted from 0): token 3 is outside the vocabulary of 3, in column 1"
    );
    assert_eq!(
        message(builder.end_puzzle(0)),
        "`puzzle_indices`, row 0 (counted from 0): the puzzle has no examples"
    );
    assert_eq!(
        message(builder.end_group()),
        "`group_indices`, row 0 (counted from 0): the group has no puzzles"
    );
    builder.add_example(&[1, 2], &[1, 2]).unwrap();
    assert_eq!(
        message(builder.end_puzzle(1)),
        "`puzzle_identifiers`, row 0 (counted from 0): puzzle identifier 1 is not below 1"
    );
    assert_eq!(
        message(builder.clone().finish().map(drop)),
        "`puzzle_indices`: the last puzzle was not ended"
    );
    builder.end_puzzle(0).unwrap();
    assert_eq!(message(builder.finish().map(drop)), "`group_indices`: the last group was not ended");
}

#[test]
fn the_fingerprint_depends_on_content_only() {
    let scratch = tempfile::tempdir().unwrap();
    let mut built = small_dataset();
    assert_eq!(built.train_tokens, TokenType::I8);
    built.write(scratch.path().join("wide"), Existing::Refuse).unwrap();
    built.train_tokens = TokenType::U1;
    built.write(scratch.path().join("narrow"), Existing::Refuse).unwrap();
    let fingerprint =
        |folder, split| Dataset::open(scratch.path().join(folder), split).unwrap().fingerprint();
    assert_eq!(fingerprint("wide", Split::Train), fingerprint("narrow", Split::Train));
    assert_ne!(fingerprint("wide", Split::Train), fingerprint("wide", Split::Test));
}

/// Groups of puzzles of examples, each a row of inputs and labels.
type Groups = Vec<Vec<Vec<(Vec<i32>, Vec<i32>)>>>;

fn groups() -> impl Strategy<Value = Groups> {
    let row = || prop::collection::vec(0..300_i32, 3);
    let puzzle = prop::collection::vec((row(), row()), 1..4);
    prop::collection::vec(prop::collection::vec(puzzle, 1..4), 1..5)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(groups in groups()) {
        let mut metadata = Metadata::new(300, 3);
        metadata.num_puzzle_identifiers = 20;
        let mut builder = DatasetBuilder::new(metadata).unwrap();
        let mut identifier = 0;
        for group in &groups {
            for puzzle in group {
                for (inputs, labels) in puzzle {
                    builder.add_example(inputs, labels).unwrap();
                }
                identifier = (identifier + 7) % 20;
                builder.end_puzzle(identifier).unwrap();
            }
            builder.end_group().unwrap();
        }
        let dataset = builder.finish().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("puzzles");
        let split = SplitToWrite { split: Split::Test, dataset: &dataset, tokens: TokenType::I8 };
        write_dataset(&folder, &[split], &["<blank>".to_owned()], Existing::Refuse).unwrap();
        assert_eq!(Dataset::open(&folder, Split::Test).unwrap(), dataset);
    }

    #[test]
    fn test_batches_lose_and_repeat_nothing(groups in groups(), batch_size in 1..9_usize) {
        let mut builder = DatasetBuilder::new(Metadata::new(300, 3)).unwrap();
        for (inputs, labels) in groups.iter().flatten().flatten() {
            builder.add_example(inputs, labels).unwrap();
            builder.end_puzzle(0).unwrap();
            builder.end_group().unwrap();
        }
        let dataset = builder.finish().unwrap();
        let wanted: Vec<i32> = groups.iter().flatten().flatten().flat_map(|(inputs, _)| inputs.clone()).collect();
        let mut given = Vec::new();
        for batch in TestBatches::new(&dataset, batch_size) {
            assert_eq!(batch.inputs.len(), batch_size * 3);
            given.extend_from_slice(&batch.inputs[..batch.real_rows * 3]);
        }
        assert_eq!(given, wanted);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error(array in 0..5_usize, cut in any::<prop::sample::Index>()) {
        let array = ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"][array];
        let message = complaint(|train| {
            let file = train.join(format!("all__{array}.npy"));
            let mut bytes = fs::read(&file).unwrap();
            bytes.truncate(cut.index(bytes.len()));
            fs::write(file, bytes).unwrap();
        });
        assert!(message.contains(array), "{message}");
    }
}
