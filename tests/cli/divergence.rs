//! Trainings whose numbers do not remain finite, from the command line.

use std::fs;

use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

fn tiny() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place
}

#[test]
fn a_training_that_diverges_ends_with_one_message_and_keeps_what_was_good() {
    let place = tiny();
    let said = place.run("run tiny.hrm --train --threads 1 --set train.optimizer.lr=1e35");
    assert_eq!(said.code, Some(1), "{}", said.err);
    let message = said.err.lines().last().expect("there is a message");
    for part in [
        "training diverged in step 2: ",
        " not finite",
        "nothing of this step is saved, and `runs/tiny-001/last` still holds step 0; ",
        "lower the learning rate (`train.optimizer.lr`; in this step it was ",
        "warm up for more steps (`train.schedule`)",
        "`train.on_divergence = rollback`",
    ] {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
    let metrics = fs::read_to_string(place.path("runs/tiny-001/metrics.jsonl")).expect("it is there");
    assert_eq!(metrics.lines().count(), 1, "{metrics}");
    assert!(!metrics.contains("null,\"token_loss\""), "{metrics}");
    assert!(!place.path("runs/tiny-001/best").exists(), "nothing was evaluated");
    place.succeed("eval runs/tiny-001 --threads 1");
}

#[test]
fn a_training_goes_back_with_a_lower_rate_if_its_spec_says_so() {
    let place = tiny();
    let said = place.run(
        "run tiny.hrm --train --threads 1 --set train.optimizer.lr=1e34 --set \
         train.on_divergence=rollback(lr_factor=1e-37)",
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("warning: training diverged in step 2: "), "{}", said.err);
    assert!(said.err.contains("; it goes back to step 0, and on with learning rates times "), "{}", said.err);
    assert!(said.out.contains("trained to step 20"), "{}", said.out);
}

#[test]
fn a_sweep_tells_the_combinations_that_diverge() {
    let place = tiny();
    let said =
        place.run("sweep tiny.hrm --set train.optimizer.lr=1e-3,1e35 --steps 4 --eval-limit 1 --threads 1");
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.out.contains("failed: training diverged in step 2: "), "{}", said.out);
}

#[test]
fn a_diff_says_that_the_weights_of_a_run_are_not_finite() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --threads 1 --steps 2");
    let weights = place.path("runs/tiny-001/best/average.safetensors");
    let mut bytes = fs::read(&weights).expect("it was evaluated");
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, bytes).expect("the disk has room");
    let said = place.run("diff runs/tiny-001 tiny.hrm");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let start = "warning: `runs/tiny-001/best/average.safetensors`: tensor `";
    assert!(said.err.starts_with(start) && said.err.contains("` is not finite, so this run has no weights"));
    assert_eq!(place.run("eval runs/tiny-001").code, Some(1), "it cannot be evaluated");
}
