//! A tiny model on 4x4 Sudoku for the tests of this module.

use std::sync::Arc;

use super::{Evaluator, Question, StepReport, Trainer, TrainerParts};
use crate::data::{
    Augment, BuiltDataset, Copies, PuzzleKind, SudokuRequest, SudokuSize, generate_sudoku_splits,
};
use crate::device::EngineOptions;
use crate::device::cpu::Cpu;
use crate::ir::{
    Adam, Augmentation, Block, Data, GeneratedSudoku, Gradient, Halt, Length, Loss, Mixing, Model, Network,
    NetworkId, Normal, OnDivergence, Operand, Optimizer, Precision, Puzzles, QHead, QOutputs, QTarget,
    Repeat, Schedule, ScheduleShape, SignSgd, State, StateId, Step, TokenHead, Tokens, Train, Update,
};
use crate::lower::Sizes;

/// Rows in a batch of the tiny model.
pub const BATCH: usize = 4;

/// Rows of its puzzle table.
pub const PUZZLE_ROWS: usize = 1;

const WIDTH: usize = 16;

/// Returns training settings with a schedule, averages and a puzzle optimizer.
pub fn train() -> Train {
    Train {
        data: Data::Sudoku(GeneratedSudoku {
            size: 4,
            givens: 8,
            train: 24,
            test: 10,
            augment: true,
            seed: 3,
        }),
        augment: Augmentation::None,
        loss: Loss::Stablemax,
        optimizer: Optimizer::AdamAtan2(Adam { lr: 1e-2, beta1: 0.9, beta2: 0.95, weight_decay: 0.1 }),
        puzzle_optimizer: Some(SignSgd { lr: 1e-2, weight_decay: 0.1 }),
        ema: Some(0.9),
        schedule: Schedule { shape: ScheduleShape::Cosine, warmup_steps: 5, min_ratio: 0.1 },
        batch: BATCH,
        length: Length::Steps(200),
        eval_every: None,
        eval_share: None,
        patience: None,
        precision: Precision::F32,
        on_divergence: OnDivergence::Stop,
        seed: 1,
    }
}

/// Returns the tiny model: two networks, two states, a puzzle prefix.
pub fn model() -> Model {
    let block =
        Block { mixing: Mixing::Attention { heads: 2, rope_theta: Some(30.0) }, inner: 32, norm_eps: 1e-5 };
    let network = |name: &str, stored_as: &str| Network {
        name: name.into(),
        stored_as: stored_as.into(),
        layers: 1,
        block: block.clone(),
    };
    let state = |name: &str, stored_as: &str| State {
        name: name.into(),
        stored_as: stored_as.into(),
        init: Normal { std: 1.0, truncate: 2.0 },
    };
    let (low, high) = (StateId(0), StateId(1));
    let update_low = Update {
        state: low,
        network: NetworkId(0),
        operands: vec![Operand::State(low), Operand::State(high), Operand::Input],
    };
    let update_high = Update {
        state: high,
        network: NetworkId(1),
        operands: vec![Operand::State(high), Operand::State(low)],
    };
    Model {
        name: "tiny".into(),
        hidden: WIDTH,
        tokens: Tokens { vocab: 6, positions: 16, learned_positions: false },
        puzzles: Some(Puzzles { width: WIDTH, positions: 1 }),
        networks: vec![network("low", "L_level"), network("high", "H_level")],
        states: vec![state("z_low", "L_init"), state("z_high", "H_init")],
        segment: vec![Step::Repeat(Repeat {
            label: Some("cycle".into()),
            count: 2,
            body: vec![Step::Update(update_low), Step::Update(update_high)],
        })],
        gradient: Gradient::OneStep,
        token_head: TokenHead { state: high },
        q_head: Some(QHead { state: high, position: 0, bias: -5.0, outputs: QOutputs::HaltContinue }),
        halt: Halt::QLearning { max_segments: 3, explore: 0.3, target: QTarget::Bootstrap },
        infer: None,
        train: Some(train()),
    }
}

/// Returns 24 training and 10 test puzzles.
pub fn data() -> BuiltDataset {
    let size = SudokuSize::Four;
    let request = SudokuRequest { size, givens: 8, train: 24, test: 10, seed: 3 };
    let splits = generate_sudoku_splits(&request).expect("such puzzles exist");
    BuiltDataset::from_puzzles(PuzzleKind::Sudoku(size), &splits, Copies::None, 3).expect("they fit")
}

/// Returns a model wide enough that two threads share the work of a batch of 16.
pub fn wide_model() -> Model {
    let mut model = model();
    model.hidden = 64;
    model.puzzles = Some(Puzzles { width: 64, positions: 1 });
    model.networks.iter_mut().for_each(|network| network.block.inner = 256);
    model.train.as_mut().expect("the tiny model is trained").batch = 16;
    model
}

/// Returns what a trainer of the tiny model on [`data`] is made of.
pub fn parts(threads: usize) -> TrainerParts<'static> {
    parts_of(model(), threads)
}

/// Returns what a trainer of `model` on [`data`] is made of.
pub fn parts_of(model: Model, threads: usize) -> TrainerParts<'static> {
    let batch = model.train.as_ref().expect("the model is trained").batch;
    let BuiltDataset { train, test, .. } = data();
    TrainerParts {
        model,
        device: &Cpu,
        engine: EngineOptions { threads },
        sizes: Sizes { batch, puzzle_rows: PUZZLE_ROWS },
        evaluate_batch: batch,
        data: Arc::new(train),
        augment: Some(Augment::new(SudokuSize::Four).with_held_out(&test)),
        seed: 1,
        total_steps: 200,
    }
}

/// Returns a trainer of `model` on [`data`].
pub fn trainer_of(model: Model, threads: usize) -> Trainer {
    Trainer::new(parts_of(model, threads)).expect("the parts fit")
}

/// Returns a trainer of the tiny model.
pub fn trainer(threads: usize) -> Trainer {
    trainer_of(model(), threads)
}

/// Trains for one step.
pub fn step(trainer: &mut Trainer) -> StepReport {
    trainer.step().expect("the processor does not fail")
}

/// Returns the tiny model with weights freshly drawn, for use without training.
pub fn evaluator() -> Evaluator {
    evaluator_of(model(), BATCH)
}

/// Returns a model with weights freshly drawn, for use without training on batches of `batch` rows.
pub fn evaluator_of(model: Model, batch: usize) -> Evaluator {
    let sizes = Sizes { batch, puzzle_rows: PUZZLE_ROWS };
    let engine = EngineOptions { threads: 1 };
    let mut evaluator = Evaluator::new(model, sizes, &Cpu, &engine).expect("the model is tiny");
    evaluator.draw_weights(1).expect("the processor does not fail");
    evaluator
}

/// Returns the question of a test puzzle.
pub fn question(example: usize) -> Question {
    Question { tokens: data().test.inputs(example).collect(), puzzle: 0 }
}
