//! The recorded models: everything they computed, on the fused kernels, and the first segment with its
//! gradients on luminal's primitives.

use std::path::Path;

use hrmc::internals::device::Device;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cpu::kernels::multiplies_in_bf16;
use hrmc::internals::device::reference::Reference;
use hrmc::internals::ir::Precision;
use hrmc::internals::parity::{Extent, Fixture, verify};

fn agrees(name: &str, device: &dyn Device, threads: usize, extent: Extent) {
    let path = Path::new("tests/fixtures").join(name).with_extension("json");
    let fixture = Fixture::open(&path).expect("the fixture is checked in");
    let verdict = verify(&fixture, device, threads, extent).expect("the model fits in memory");
    let wrong: Vec<_> = verdict.rows.iter().filter(|row| !row.pass).collect();
    assert!(verdict.pass, "{name} on {}: {wrong:#?}", device.name());
    let recorded = fixture.tensors.keys().filter(|tensor| tensor.starts_with("expect.")).count();
    if extent == Extent::Whole {
        assert_eq!(verdict.tensors, recorded, "every recorded tensor is compared");
    }
}

macro_rules! recorded_models {
    ($($module:ident: $name:literal),+ $(,)?) => {
        $(mod $module {
            use super::{Cpu, Extent, Reference, agrees};

            #[test]
            fn agrees_on_cpu_with_one_thread_and_with_two() {
                agrees($name, &Cpu, 1, Extent::Whole);
                agrees($name, &Cpu, 2, Extent::Whole);
            }

            #[test]
            fn agrees_on_reference_in_the_first_segment() {
                agrees($name, &Reference, 1, Extent::FirstSegment);
            }
        })+
    };
}

recorded_models!(
    rope_without_puzzles: "rope-nopuzzle",
    rope_with_puzzles: "rope-puzzle",
    learned_positions_and_softmax: "learned-softmax",
    trm_with_attention: "trm-attention",
    trm_with_mixer: "trm-mixer",
    trm_with_continue: "trm-continue",
);

/// Only the first segment, with the bounds of bf16; processors without such products have nothing to compare.
#[test]
fn recorded_models_agree_in_bf16() {
    if !multiplies_in_bf16() {
        return;
    }
    for name in
        ["rope-nopuzzle", "rope-puzzle", "learned-softmax", "trm-attention", "trm-mixer", "trm-continue"]
    {
        let path = Path::new("tests/fixtures").join(name).with_extension("json");
        let fixture =
            Fixture::open(&path).expect("the fixture is checked in").with_precision(Precision::Bf16);
        let verdict = verify(&fixture, &Cpu, 2, Extent::FirstSegment).expect("the model fits in memory");
        assert!(verdict.pass && verdict.tensors >= 5, "{name}: {:#?}", verdict.rows);
        assert!(
            verdict.rows.iter().all(|row| row.largest > 1e-4),
            "{name} is computed in bf16: {:#?}",
            verdict.rows
        );
        let gradients = verdict.rows.iter().any(|row| row.group == "grad");
        assert_eq!(gradients, verdict.note.is_none(), "{name} compares gradients or says why not");
    }
}

#[test]
fn a_wrong_weight_is_noticed() {
    let mut fixture =
        Fixture::open(Path::new("tests/fixtures/rope-puzzle.json")).expect("the fixture is checked in");
    let hrmc::internals::parity::RecordedValues::F32(values) =
        fixture.tensors.get_mut("param.inner.lm_head.weight").expect("every model has a token head")
    else {
        panic!("weights are f32");
    };
    values[0] += 1e-2;
    let verdict = verify(&fixture, &Cpu, 1, Extent::FirstSegment).expect("the model fits in memory");
    assert!(!verdict.pass);
}
