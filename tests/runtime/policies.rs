//! The host's part of a training call against recorded models: refilling, halting, metrics.
//!
//! Logits and Q values are taken from the fixtures, so nothing but the policies can be at fault here.

use std::fs;
use std::path::Path;

use hrmc::internals::ir::Halt;
use hrmc::internals::train::explore::NO_FLOOR;
use hrmc::internals::train::halting::{SlotOutcome, halts};
use hrmc::internals::train::metrics::{Metrics, SegmentRows};
use hrmc::internals::train::refill::refill;
use safetensors::{Dtype, SafeTensors};

const IGNORED: i32 = -100;

/// A recorded model.
struct Fixture {
    json: serde_json::Value,
    bytes: Vec<u8>,
}

impl Fixture {
    fn open(name: &str) -> Fixture {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let json = fs::read_to_string(folder.join(format!("{name}.json"))).expect("the fixture exists");
        let bytes = fs::read(folder.join(format!("{name}.safetensors"))).expect("the fixture exists");
        Fixture { json: serde_json::from_str(&json).expect("it is JSON"), bytes }
    }

    fn words(&self, name: &str, dtype: Dtype) -> Vec<[u8; 4]> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("the fixture is whole");
        let view = tensors.tensor(name).unwrap_or_else(|_| panic!("the fixture has `{name}`"));
        assert_eq!(view.dtype(), dtype, "{name}");
        view.data().chunks_exact(4).map(|word| word.try_into().expect("a word has 4 bytes")).collect()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        self.words(name, Dtype::F32).into_iter().map(f32::from_le_bytes).collect()
    }

    fn i32(&self, name: &str) -> Vec<i32> {
        self.words(name, Dtype::I32).into_iter().map(i32::from_le_bytes).collect()
    }

    fn flags(&self, name: &str) -> Vec<bool> {
        self.i32(name).into_iter().map(|flag| flag != 0).collect()
    }

    /// Returns a recorded number, of either type.
    fn number(&self, name: &str) -> f64 {
        match self.json["tensors"][name]["dtype"].as_str() {
            Some("I32") => f64::from(self.i32(name)[0]),
            _ => f64::from(self.f32(name)[0]),
        }
    }

    fn policy(&self) -> Halt {
        let model = &self.json["model"];
        let max_segments = model["halt_max_steps"].as_u64().expect("it is a count") as usize;
        if model["no_ACT_continue"].as_bool() == Some(true) {
            Halt::Bce { max_segments, explore: 0.0 }
        } else {
            Halt::QLearning { max_segments, explore: 0.0, target: hrmc::internals::ir::QTarget::Bootstrap }
        }
    }
}

/// Returns right and counted labels of each row.
fn correctness(logits: &[f32], labels: &[i32], rows: usize) -> (Vec<f32>, Vec<f32>) {
    let vocab = logits.len() / labels.len();
    let predicted: Vec<i32> = logits
        .chunks_exact(vocab)
        .map(|logits| (0..vocab).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as i32)
        .collect();
    let row = labels.len() / rows;
    let count = |holds: &dyn Fn(usize) -> bool| -> Vec<f32> {
        (0..rows).map(|r| (r * row..(r + 1) * row).filter(|&at| holds(at)).count() as f32).collect()
    };
    (count(&|at| labels[at] == predicted[at]), count(&|at| labels[at] != IGNORED))
}

fn follows_the_record(name: &str) {
    let fixture = Fixture::open(name);
    let policy = fixture.policy();
    let mut halted = fixture.flags("carry.halted");
    let mut steps: Vec<u32> = fixture.i32("carry.steps").into_iter().map(|steps| steps as u32).collect();
    let mut labels = fixture.i32("carry.labels");
    let row = labels.len() / steps.len();
    let segments = fixture.json["segments"].as_u64().expect("it is a count");
    for segment in 0..segments {
        let at = |what: &str| format!("expect.segment.{segment}.{what}");
        let offered = fixture.i32(&format!("batch.{segment}.labels"));
        let filled = refill(&halted, &steps);
        for slot in filled.slots {
            labels[slot * row..(slot + 1) * row].copy_from_slice(&offered[slot * row..(slot + 1) * row]);
        }
        steps = filled.steps.iter().map(|steps| steps + 1).collect();
        let (q_halt, q_continue) = (fixture.f32(&at("q_halt_logits")), fixture.f32(&at("q_continue_logits")));
        halted = (0..steps.len())
            .map(|slot| {
                let outcome = SlotOutcome {
                    steps: steps[slot],
                    floor: NO_FLOOR,
                    q_halt: Some(q_halt[slot]),
                    q_continue: Some(q_continue[slot]),
                    residual: None,
                };
                halts(&policy, outcome)
            })
            .collect();
        assert_eq!(halted, fixture.flags(&at("halted")), "{name}, segment {segment}");
        let recorded: Vec<u32> = fixture.i32(&at("steps")).into_iter().map(|steps| steps as u32).collect();
        assert_eq!(steps, recorded, "{name}, segment {segment}");

        let (right, counted) = correctness(&fixture.f32(&at("logits")), &labels, steps.len());
        let metrics = Metrics::of(
            &SegmentRows {
                token_loss: &vec![0.0; steps.len()],
                halt_loss: None,
                continue_loss: None,
                right: &right,
                counted: &counted,
                q_halt: Some(&q_halt),
                steps: &steps,
                halted: &halted,
            },
            steps.len(),
        );
        let metric = |what: &str| fixture.number(&at(&format!("metric.{what}")));
        assert_eq!(metrics.count as f64, metric("count"), "{name}, segment {segment}");
        assert_eq!(metrics.exact_accuracy, metric("exact_accuracy"), "{name}, segment {segment}");
        assert_eq!(metrics.q_halt_accuracy, Some(metric("q_halt_accuracy")), "{name}, segment {segment}");
        assert_eq!(metrics.steps, metric("steps"), "{name}, segment {segment}");
        // Recorded as an f32 sum of at most six shares below one.
        assert!((metrics.accuracy - metric("accuracy")).abs() < 1e-6, "{name}, segment {segment}");
    }
}

#[test]
fn hrm_slots_refill_halt_and_count_as_recorded() {
    ["rope-nopuzzle", "rope-puzzle", "learned-softmax"].into_iter().for_each(follows_the_record);
}

#[test]
fn trm_slots_refill_halt_and_count_as_recorded() {
    ["trm-attention", "trm-mixer", "trm-continue"].into_iter().for_each(follows_the_record);
}
