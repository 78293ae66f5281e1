//! Checkpoints of a trainer: what they hold, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use crate::ir::{Halt, QTarget};
use crate::lower::names;
use crate::store::checkpoint::{AVERAGE, Before, STATE, STATE_TENSORS, Saved, TrainerState, WEIGHTS, beside};
use crate::store::sums::SUMS;
use crate::store::tensors::WeightsFile;
use crate::train::{Record, Trainer, testing};

/// Type, shape and bytes of each tensor of a file.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Returns every file of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().expect("entries have names").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("checkpoints hold files only"))
        })
        .collect()
}

const DIFFERS: &str = "its bytes are not those that were saved: the checksum differs";

fn train(trainer: &mut Trainer, steps: usize) {
    (0..steps).for_each(|_| {
        testing::step(trainer);
    });
}

fn save(trainer: &mut Trainer, folder: &Path) {
    trainer.save(folder, Before::Removed, Record::default()).expect("the disk has room");
}

/// Saves a checkpoint of a trainer after a few steps.
fn saved() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary folder");
    let folder = directory.path().join("last");
    let mut trainer = testing::trainer(1);
    train(&mut trainer, 3);
    save(&mut trainer, &folder);
    (directory, folder)
}

fn refusal(folder: &Path) -> String {
    let mut trainer = testing::trainer(1);
    trainer.restore(folder).expect_err("the checkpoint is not usable").to_string()
}

fn state_of(folder: &Path) -> TrainerState {
    Saved::open(folder).expect("it is whole").state().clone()
}

fn weights_to_use(folder: &Path, averaged: bool) -> WeightsFile {
    Saved::open(folder).and_then(|saved| saved.weights_to_use(averaged)).expect("it is whole")
}

/// Makes a checkpoint one of format 1, which has no checksums.
fn without_checksums(folder: &Path) {
    fs::remove_file(folder.join(SUMS)).expect("it is there");
    let state = fs::read_to_string(folder.join(STATE)).expect("it is there");
    let state = state.replace("\"format\": 2", "\"format\": 1");
    fs::write(folder.join(STATE), state).expect("the disk has room");
}

/// Writes a safetensors file with the tensors of another one, changed by `change`.
fn rewrite(file: &Path, change: impl Fn(&mut Tensors)) {
    let bytes = fs::read(file).expect("the file exists");
    let tensors = SafeTensors::deserialize(&bytes).expect("the file is whole");
    let mut all: Tensors = tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("the sizes agree"))
    });
    let bytes = safetensors::serialize(views, None).expect("the tensors are plain");
    fs::write(file, bytes).expect("the disk has room");
}

#[test]
fn two_hundred_steps_and_twice_a_hundred_give_the_same_bytes() {
    let directory = TempDir::new().expect("a temporary folder");
    let [whole, half, resumed] = ["whole", "half", "resumed"].map(|name| directory.path().join(name));
    let mut trainer = testing::trainer(1);
    train(&mut trainer, 100);
    save(&mut trainer, &half);
    train(&mut trainer, 100);
    save(&mut trainer, &whole);
    let mut second = testing::trainer(1);
    second.restore(&half).expect("it fits");
    train(&mut second, 100);
    save(&mut second, &resumed);
    assert_eq!(second.steps_done(), 200);
    let names: Vec<String> = files(&whole).into_keys().collect();
    assert_eq!(names, [SUMS, AVERAGE, STATE, STATE_TENSORS, WEIGHTS]);
    assert_ne!(files(&half), files(&whole));
    assert!(files(&resumed) == files(&whole), "the files differ");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let directory = TempDir::new().expect("a temporary folder");
    let checkpoint = |threads: usize| {
        let folder = directory.path().join(threads.to_string());
        let mut trainer = testing::trainer_of(testing::wide_model(), threads);
        train(&mut trainer, 6);
        save(&mut trainer, &folder);
        files(&folder)
    };
    let one = checkpoint(1);
    for threads in [2, 3, 8, 64] {
        assert!(checkpoint(threads) == one, "the files of {threads} threads differ");
    }
}

#[test]
fn tensors_have_their_published_names() {
    let (_directory, folder) = saved();
    let trainer = testing::trainer(1);
    let expected: BTreeSet<String> =
        crate::lower::parameters::parameters(trainer.model(), testing::PUZZLE_ROWS)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
    for name in [WEIGHTS, AVERAGE] {
        let bytes = fs::read(folder.join(name)).expect("the file exists");
        let tensors = SafeTensors::deserialize(&bytes).expect("the file is whole");
        let found: BTreeSet<String> = tensors.names().into_iter().map(str::to_owned).collect();
        assert_eq!(found, expected);
    }
    assert!(expected.contains("inner.H_level.layers.0.self_attn.qkv_proj.weight"));
}

#[test]
fn averages_are_what_evaluation_uses() {
    let (_directory, folder) = saved();
    let mut trainer = testing::trainer(1);
    trainer.restore(&folder).expect("it fits");
    let mut evaluator = testing::evaluator();
    let file = weights_to_use(&folder, true);
    assert_eq!(file.path, folder.join(AVERAGE));
    evaluator.load_weights(&file).expect("it fits");
    let questions = [testing::question(0)];
    let trained = trainer.solve(&questions).expect("fits");
    let used = evaluator.solve(&questions).expect("fits");
    assert_eq!(trained, used);
}

#[test]
fn a_save_replaces_the_checkpoint_before() {
    let (directory, folder) = saved();
    let before = files(&folder);
    let mut trainer = testing::trainer(1);
    trainer.restore(&folder).expect("it fits");
    train(&mut trainer, 1);
    let record = Record { exact_accuracy: Some(0.5), ..Record::default() };
    trainer.save(&folder, Before::Removed, record).expect("the disk has room");
    assert_ne!(files(&folder), before);
    let state = state_of(&folder);
    assert_eq!((state.step, state.exact_accuracy), (4, Some(0.5)));
    let left: Vec<_> = fs::read_dir(directory.path()).expect("it exists").collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[test]
fn an_interrupted_save_keeps_the_checkpoint_before() {
    let (_directory, folder) = saved();
    let before = files(&folder);
    // Killed while it wrote: half a file beside the checkpoint.
    let new = beside(&folder, ".new");
    fs::create_dir(&new).expect("the disk has room");
    fs::write(new.join(WEIGHTS), b"half a fi").expect("the disk has room");
    let mut trainer = testing::trainer(1);
    trainer.restore(&folder).expect("it fits");
    save(&mut trainer, &folder);
    assert!(files(&folder) == before, "a restored trainer saves what it read");

    // Killed between the two renames: the old checkpoint waits beside its place.
    fs::rename(&folder, beside(&folder, ".old")).expect("it exists");
    trainer.restore(&folder).expect("the old one is found");
    train(&mut trainer, 1);
    save(&mut trainer, &folder);
    assert_eq!(state_of(&folder).step, 4);
    assert!(!beside(&folder, ".old").exists());
}

#[test]
fn a_failed_save_says_why_and_keeps_the_checkpoint_before() {
    let (_directory, folder) = saved();
    let before = files(&folder);
    // A file where the new checkpoint is to be written cannot be removed as a folder.
    fs::write(beside(&folder, ".new"), b"").expect("the disk has room");
    let saved = testing::trainer(1).save(&folder, Before::Removed, Record::default());
    let message = saved.expect_err("it is in the way").to_string();
    assert!(message.starts_with("cannot save the checkpoint: ") && message.contains("last.new"), "{message}");
    assert!(files(&folder) == before, "the files differ");
}

#[test]
fn a_missing_checkpoint_is_named() {
    let folder = Path::new("nowhere/last");
    assert_eq!(refusal(folder), "there is no checkpoint in `nowhere/last`");
}

#[test]
fn a_truncated_file_is_named() {
    let (_directory, folder) = saved();
    let file = folder.join(STATE_TENSORS);
    let bytes = fs::read(&file).expect("it exists");
    fs::write(&file, &bytes[..bytes.len() - 7]).expect("the disk has room");
    assert_eq!(refusal(&folder), format!("`{}` is damaged: {DIFFERS}", file.display()));
    without_checksums(&folder);
    let start = format!("`{}` is damaged: it is not a whole safetensors file", file.display());
    assert!(refusal(&folder).starts_with(&start), "{}", refusal(&folder));
}

#[test]
fn a_damaged_state_is_named() {
    let (_directory, folder) = saved();
    let file = folder.join(STATE);
    fs::write(&file, "{\"format\": 1").expect("the disk has room");
    assert!(refusal(&folder).starts_with(&format!("`{}` is damaged: ", file.display())));
    fs::write(&file, "{\"format\": 3, \"news\": []}").expect("the disk has room");
    let reason = "it has format 3, of another version of hrmc; this one reads up to 2";
    assert_eq!(refusal(&folder), format!("cannot continue from `{}`: {reason}", folder.display()));
}

#[test]
fn a_number_that_is_no_row_of_its_table_is_named() {
    let (_directory, folder) = saved();
    without_checksums(&folder);
    let file = folder.join(STATE_TENSORS);
    let whole = fs::read(&file).expect("it exists");
    for (tensor, row, reason) in [
        ("train.tokens", 1000, "has 1000, which is not in the vocabulary of 6"),
        ("train.tokens", -100, "has -100, which is not in the vocabulary of 6"),
        ("train.labels", -1, "has -1, which is not in the vocabulary of 6"),
        ("train.puzzles", 1, "has 1, which is not in the puzzle table of 1"),
    ] {
        fs::write(&file, &whole).expect("the disk has room");
        rewrite(&file, |tensors| {
            let (_, _, data) = tensors.get_mut(tensor).expect("every checkpoint has it");
            data[..4].copy_from_slice(&i32::to_le_bytes(row));
        });
        assert_eq!(refusal(&folder), format!("`{}`: tensor `{tensor}` {reason}", file.display()));
    }
}

#[test]
fn a_counter_at_its_end_is_named() {
    let (_directory, folder) = saved();
    without_checksums(&folder);
    let file = folder.join(STATE);
    let state = fs::read_to_string(&file).expect("it exists");
    fs::write(&file, state.replacen("\"step\": 3", &format!("\"step\": {}", u64::MAX), 1))
        .expect("the disk has room");
    let reason = "`step` is 18446744073709551615, which no training reaches";
    assert_eq!(refusal(&folder), format!("`{}` is damaged: {reason}", file.display()));
}

#[test]
fn a_file_of_another_kind_is_not_called_damaged() {
    let (_directory, folder) = saved();
    let file = folder.join(WEIGHTS);
    for (content, reason) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"[..], "it is a pointer of Git LFS"),
        (b"PK\x03\x04\x14\0\0\0", "it is a zip, as PyTorch"),
    ] {
        fs::write(&file, content).expect("the disk has room");
        let said = refusal(&folder);
        assert!(said.starts_with(&format!("cannot read `{}`: {reason}", file.display())), "{said}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (_directory, folder) = saved();
    without_checksums(&folder);
    let file = folder.join(WEIGHTS);
    let whole = fs::read(&file).expect("it exists");
    let name = "inner.q_head.bias";
    let mut cases = 0;
    let mut refuses = |reason: &str, change: &dyn Fn(&mut Tensors)| {
        fs::write(&file, &whole).expect("the disk has room");
        rewrite(&file, change);
        assert_eq!(refusal(&folder), format!("`{}`: tensor {reason}", file.display()));
        cases += 1;
    };
    refuses("`inner.q_head.bias` is missing", &|tensors| {
        tensors.remove(name);
    });
    refuses("`inner.extra` does not belong to the model", &|tensors| {
        tensors.insert("inner.extra".into(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    refuses("`inner.q_head.bias` has shape [3]; expected [2]", &|tensors| {
        tensors.insert(name.into(), (Dtype::F32, vec![3], vec![0; 12]));
    });
    refuses("`inner.q_head.bias` has type BF16; expected F32", &|tensors| {
        tensors.insert(name.into(), (Dtype::BF16, vec![2], vec![0; 4]));
    });
    assert_eq!(cases, 4);
}

#[test]
fn a_refused_checkpoint_changes_nothing() {
    let (directory, folder) = saved();
    without_checksums(&folder);
    rewrite(&folder.join(STATE_TENSORS), |tensors| {
        tensors.remove("train.tokens");
    });
    let mut trainer = testing::trainer(1);
    let [before, after] = ["before", "after"].map(|name| directory.path().join(name));
    save(&mut trainer, &before);
    assert!(trainer.restore(&folder).is_err());
    save(&mut trainer, &after);
    assert!(files(&before) == files(&after), "the files differ");
}

#[test]
fn a_tensor_that_is_not_finite_is_named_and_neither_saved_nor_read() {
    let (_directory, folder) = saved();
    without_checksums(&folder);
    let file = folder.join(WEIGHTS);
    let name = "inner.q_head.bias";
    let cases: [(Dtype, &[u8], &[u8]); 3] = [
        (Dtype::F32, &1_f32.to_le_bytes(), &f32::NAN.to_le_bytes()),
        (Dtype::F16, &[0x00, 0x3c], &[0x00, 0x7c]),
        (Dtype::BF16, &[0x80, 0x3f], &[0x80, 0xff]),
    ];
    let expected = format!("`{}`: tensor `{name}` is not finite: element 1 is no number", file.display());
    for (dtype, one, bad) in cases {
        rewrite(&file, |tensors| {
            tensors.insert(name.into(), (dtype, vec![2], [one, bad].concat()));
        });
        let read = testing::evaluator().load_weights(&file.as_path().into());
        assert_eq!(read.expect_err("it is no number").to_string(), expected);
        if dtype == Dtype::F32 {
            assert_eq!(refusal(&folder), expected);
        }
    }
    let mut trainer = testing::trainer(1);
    let before = files(&folder);
    trainer.session_mut().f32_mut(&names::average(name)).expect("it is on the host")[0] = f32::INFINITY;
    let save = trainer.save(&folder, Before::Removed, Record::default());
    let message = save.expect_err("it is not finite").to_string();
    let file = folder.join(AVERAGE);
    assert_eq!(message, format!("`{}`: tensor `{name}` is not finite, so nothing is saved", file.display()));
    assert!(files(&folder) == before, "the files differ");
}

#[test]
fn another_model_is_refused() {
    let (_directory, folder) = saved();
    let mut model = testing::model();
    model.halt = Halt::QLearning { max_segments: 4, explore: 0.3, target: QTarget::Bootstrap };
    let refused = testing::trainer_of(model, 1).restore(&folder).map_err(|error| error.to_string());
    let message = refused.expect_err("it is another model");
    let reason = "it belongs to another model or other training settings than `tiny`";
    assert_eq!(message, format!("cannot continue from `{}`: {reason}", folder.display()));
}

#[test]
fn a_model_without_averages_saves_none() {
    let directory = TempDir::new().expect("a temporary folder");
    let mut model = testing::model();
    model.train.as_mut().expect("the tiny model is trained").ema = None;
    let mut trainer = testing::trainer_of(model, 1);
    let folder = directory.path().join("last");
    save(&mut trainer, &folder);
    assert!(!folder.join(AVERAGE).exists());
    assert_eq!(weights_to_use(&folder, false).path, folder.join(WEIGHTS));
}

#[test]
fn half_precision_weights_are_widened() {
    let (_directory, folder) = saved();
    let file = folder.join(WEIGHTS);
    let name = "inner.q_head.bias";
    for (dtype, one, minus_two) in
        [(Dtype::F16, [0x00, 0x3c], [0x00, 0xc0]), (Dtype::BF16, [0x80, 0x3f], [0x00, 0xc0])]
    {
        rewrite(&file, |tensors| {
            tensors.insert(name.into(), (dtype, vec![2], [one, minus_two].concat()));
        });
        let mut trainer = testing::trainer(1);
        trainer.load_weights(&file).expect("halves are fine here");
        assert_eq!(trainer.session().f32(&names::parameter(name)).expect("it is on the host"), [1.0, -2.0]);
        assert_eq!(trainer.session().f32(&names::average(name)).expect("it is on the host"), [1.0, -2.0]);
    }
}

#[test]
fn weights_of_another_shape_are_refused() {
    let (_directory, folder) = saved();
    let file = folder.join(WEIGHTS);
    rewrite(&file, |tensors| {
        tensors.insert("inner.H_init".into(), (Dtype::F32, vec![4, 4], vec![0; 64]));
    });
    let message =
        testing::evaluator().load_weights(&file.as_path().into()).expect_err("the shape differs").to_string();
    assert!(message.ends_with("tensor `inner.H_init` has shape [4, 4]; expected [16]"), "{message}");
}

#[test]
fn a_flipped_bit_of_any_file_is_noticed() {
    let (_directory, folder) = saved();
    for (name, bytes) in files(&folder) {
        for at in [0, bytes.len() / 2, bytes.len() - 2] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(folder.join(&name), flipped).expect("the disk has room");
            let message = refusal(&folder);
            assert!(
                message.contains("is damaged: ") || message.contains("cannot read"),
                "{name} {at}: {message}"
            );
            fs::write(folder.join(&name), &bytes).expect("the disk has room");
        }
        fs::remove_file(folder.join(&name)).expect("it is there");
        assert!(refusal(&folder).contains(&name), "{}", refusal(&folder));
        fs::write(folder.join(&name), &bytes).expect("the disk has room");
    }
    testing::trainer(1).restore(&folder).expect("everything is as it was");
}

#[test]
fn a_checkpoint_without_checksums_is_read() {
    let (_directory, folder) = saved();
    without_checksums(&folder);
    let saved = Saved::open(&folder).expect("format 1 is known");
    assert!(!saved.is_guarded());
    testing::trainer(1).restore(&folder).expect("it fits");
}

#[test]
fn the_checkpoint_before_is_kept_where_it_is_wanted() {
    let (directory, folder) = saved();
    let previous = directory.path().join("previous");
    let mut trainer = testing::trainer(1);
    trainer.restore(&folder).expect("it fits");
    for step in [4, 5] {
        train(&mut trainer, 1);
        trainer.save(&folder, Before::Kept(&previous), Record::default()).expect("the disk has room");
        assert_eq!((state_of(&folder).step, state_of(&previous).step), (step, step - 1));
    }
}
