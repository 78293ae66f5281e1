//! Models to spell, for tests.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option};

use crate::check::name_storage;
use crate::diagnostic::{Code, Diagnostic};
use crate::ir;
use crate::ir::testing::{repeat, update};

/// Returns whether a generated loop nest was refused for what it leaves out; nothing else is wrong with one.
pub(crate) fn is_idle(diagnostics: &[Diagnostic]) -> bool {
    let idle =
        [Code::StateNeverRead, Code::StateNeverUpdated, Code::NetworkNeverUsed, Code::NetworkWithoutGradient];
    diagnostics.iter().any(|diagnostic| idle.contains(&diagnostic.code))
}

fn block(hidden: usize, learned: bool) -> impl Strategy<Value = ir::Block> {
    let rope = if learned { Just(None).boxed() } else { option::of(1.0f32..1e6).boxed() };
    let attention = (prop_oneof![Just(1), Just(2), Just(4)], rope)
        .prop_map(|(heads, rope_theta)| ir::Mixing::Attention { heads, rope_theta });
    let mixing = prop_oneof![attention, (1usize..5_000).prop_map(|inner| ir::Mixing::Mlp { inner })];
    (mixing, 1usize..4 * hidden, 1e-9f32..1e-2).prop_map(|(mixing, inner, norm_eps)| ir::Block {
        mixing,
        inner,
        norm_eps,
    })
}

fn halting() -> impl Strategy<Value = (ir::Halt, Option<ir::QOutputs>)> {
    prop_oneof![
        (1usize..40, 0.0f32..=1.0).prop_map(|(max_segments, explore)| {
            let target = ir::QTarget::Bootstrap;
            (ir::Halt::QLearning { max_segments, explore, target }, Some(ir::QOutputs::HaltContinue))
        }),
        (1usize..40, 0.0f32..=1.0, any::<bool>(), any::<bool>()).prop_map(
            |(max_segments, explore, both, bce)| {
                let outputs = if both { ir::QOutputs::HaltContinue } else { ir::QOutputs::Halt };
                let target = ir::QTarget::None;
                let halt = match bce {
                    true => ir::Halt::Bce { max_segments, explore },
                    false => ir::Halt::QLearning { max_segments, explore, target },
                };
                (halt, Some(outputs))
            }
        ),
        (1usize..40).prop_map(|segments| (ir::Halt::Fixed { segments }, None)),
        (1e-9f32..10.0, 1usize..40)
            .prop_map(|(eps, max_segments)| (ir::Halt::Residual { eps, max_segments }, None)),
    ]
}

/// Inference, with as much of what was drawn as the policy allows.
fn infer(fixed: bool) -> impl Strategy<Value = ir::Infer> {
    let rollouts = (2usize..40, 1e-6f32..10.0).prop_map(|(count, noise)| ir::Rollouts { count, noise });
    let check = prop_oneof![Just(ir::Check::Equal), Just(ir::Check::Sudoku), Just(ir::Check::Maze)];
    let settle = option::of(1e-6f32..10.0);
    (2usize..40, any::<bool>(), option::of(rollouts), settle, option::of(check)).prop_map(
        move |(segments, halt, rollouts, settle, check)| ir::Infer {
            segments,
            halt: halt && !fixed,
            rollouts: rollouts.filter(|_| !fixed),
            settle,
            check,
        },
    )
}

fn length() -> impl Strategy<Value = ir::Length> {
    prop_oneof![(1u64..1_000_000).prop_map(ir::Length::Steps), (1e-3f64..1e6).prop_map(ir::Length::Epochs),]
}

fn data() -> impl Strategy<Value = ir::Data> {
    let size = prop_oneof![Just(4usize), Just(6), Just(9)];
    let sudoku = (size, 17usize..81, 1usize..9_999, 1usize..9_999, any::<bool>(), any::<u64>()).prop_map(
        |(size, givens, train, test, augment, seed)| {
            let givens = givens.min(size * size - 1);
            ir::Data::Sudoku(ir::GeneratedSudoku { size, givens, train, test, augment, seed })
        },
    );
    let maze = (3usize..30, 2usize..5, 1usize..9_999, 1usize..9_999, any::<u64>()).prop_map(
        |(size, min_path, train, test, seed)| {
            ir::Data::Maze(ir::GeneratedMaze { size, min_path, train, test, seed })
        },
    );
    prop_oneof![2 => "[a-z\"\\\\\\n\\t#é]{0,8}x".prop_map(ir::Data::Folder), 1 => sudoku, 1 => maze]
}

fn train(puzzles: bool) -> impl Strategy<Value = ir::Train> {
    let optimizer = (1e-9f32..10.0, 0.0f32..1.0, 0.0f32..1.0, 0.0f32..10.0, option::of(1e-12f32..1e-3))
        .prop_map(|(lr, beta1, beta2, weight_decay, eps)| {
            let adam = ir::Adam { lr, beta1, beta2, weight_decay };
            match eps {
                Some(eps) => ir::Optimizer::AdamW { adam, eps },
                None => ir::Optimizer::AdamAtan2(adam),
            }
        });
    let puzzle_optimizer = (1e-9f32..10.0, 0.0f32..10.0)
        .prop_map(move |(lr, weight_decay)| puzzles.then_some(ir::SignSgd { lr, weight_decay }));
    let shape = prop_oneof![
        Just(ir::ScheduleShape::Constant),
        Just(ir::ScheduleShape::Cosine),
        Just(ir::ScheduleShape::Linear)
    ];
    let schedule = (shape, 0u64..100_000, 0.0f32..=1.0).prop_map(|(shape, warmup_steps, min_ratio)| {
        let min_ratio = if shape == ir::ScheduleShape::Constant { 1.0 } else { min_ratio };
        ir::Schedule { shape, warmup_steps, min_ratio }
    });
    let loss = prop_oneof![Just(ir::Loss::Stablemax), Just(ir::Loss::Softmax)];
    let precision = prop_oneof![Just(ir::Precision::F32), Just(ir::Precision::Bf16)];
    let on_divergence = option::of((0.001f32..0.999, 1usize..1000)).prop_map(|rollback| match rollback {
        Some((lr_factor, most)) => ir::OnDivergence::Rollback { lr_factor, most },
        None => ir::OnDivergence::Stop,
    });
    let on_the_way = option::of((length(), (option::of(0.001f32..0.999), option::of(1usize..1000))));
    let rest = (loss, precision, on_divergence, any::<u64>(), 1usize..10_000, option::of(0.001f32..0.999));
    let data = (data(), option::of((1usize..1000, any::<u64>()))).prop_map(|(data, augment)| {
        let augment = match (&data, augment) {
            (ir::Data::Folder(_), Some((count, seed))) => ir::Augmentation::Copies { count, seed },
            (ir::Data::Sudoku(sudoku), Some(_)) if sudoku.augment => ir::Augmentation::Symmetries,
            (ir::Data::Maze(_), Some(_)) => ir::Augmentation::Symmetries,
            _ => ir::Augmentation::None,
        };
        (data, augment)
    });
    (data, optimizer, puzzle_optimizer, schedule, length(), on_the_way, rest).prop_map(
        |((data, augment), optimizer, puzzle_optimizer, schedule, length, on_the_way, rest)| {
            let (eval_every, of_evaluations) = on_the_way.unzip();
            let (eval_share, patience) = of_evaluations.unwrap_or_default();
            let (loss, precision, on_divergence, seed, batch, ema) = rest;
            ir::Train {
                data,
                augment,
                loss,
                optimizer,
                puzzle_optimizer,
                ema,
                schedule,
                batch,
                length,
                eval_every,
                eval_share,
                patience,
                precision,
                on_divergence,
                seed,
            }
        },
    )
}

/// Updates in up to two levels of loops, among `states` states and `networks` networks.
fn steps(states: usize, networks: usize) -> impl Strategy<Value = Vec<ir::Step>> {
    let operand = prop_oneof![
        Just(ir::Operand::Input),
        (0..states).prop_map(|index| ir::Operand::State(ir::StateId(index)))
    ];
    let leaf = (0..states, 0..networks, collection::vec(operand, 1..4))
        .prop_map(|(state, network, operands)| update(state, network, &operands));
    let nest = leaf.prop_recursive(2, 12, 4, |inner| {
        (1usize..4, collection::vec(inner, 1..4)).prop_map(|(count, body)| repeat(None, count, body))
    });
    // The outermost loop has a label for the gradient to name.
    (collection::vec(nest, 2..8), 1usize..4)
        .prop_map(|(body, count)| vec![repeat(Some("cycle"), count, body)])
}

/// Models of every shape.
pub(crate) fn models() -> impl Strategy<Value = ir::Model> {
    let counts = (1usize..4, 1usize..3, any::<bool>(), prop_oneof![Just(8usize), Just(24)]);
    counts
        .prop_flat_map(|(states, networks, learned, hidden)| {
            let blocks = collection::vec((block(hidden, learned), 1usize..5), networks);
            let puzzles = option::of((1usize..60, 8usize..10));
            let inits = collection::vec((0.01f32..4.0, 0.5f32..4.0), states);
            let gradient = prop_oneof![
                Just(ir::Gradient::OneStep),
                Just(ir::Gradient::Full),
                Just(ir::Gradient::Last { count: 1, label: "cycle".to_string() })
            ];
            let tokens = (2usize..100, 1usize..2_000);
            let halting = halting().prop_flat_map(|(halt, outputs)| {
                (Just((halt, outputs)), option::of(infer(outputs.is_none())))
            });
            let heads = (0..states, 0..states, -10.0f32..10.0, halting);
            let train =
                any::<bool>().prop_flat_map(|puzzles| train(puzzles).prop_map(move |train| (puzzles, train)));
            let rest = (heads, option::of(train));
            (blocks, puzzles, inits, steps(states, networks), gradient, tokens, rest).prop_map(
                move |(blocks, puzzles, inits, segment, gradient, tokens, (heads, train))| {
                    let data = train.as_ref().map(|(_, train)| (&train.data, train.augment));
                    let (vocab, positions) = match data {
                        Some((ir::Data::Sudoku(sudoku), _)) => (sudoku.size + 2, sudoku.size * sudoku.size),
                        Some((ir::Data::Maze(maze), _)) => (6, maze.size * maze.size),
                        Some((ir::Data::Folder(_), ir::Augmentation::Copies { .. })) => (12, 900),
                        Some((ir::Data::Folder(_), _)) | None => tokens,
                    };
                    let (token_state, q_state, bias, ((halt, outputs), infer)) = heads;
                    let puzzles = match &train {
                        Some((has_puzzles, _)) => puzzles.or(Some((5, 8))).filter(|_| *has_puzzles),
                        None => puzzles,
                    };
                    let networks = blocks.into_iter().enumerate().map(|(index, (block, layers))| {
                        ir::Network { name: format!("net_{index}"), stored_as: String::new(), layers, block }
                    });
                    let states = inits.into_iter().enumerate().map(|(index, (std, truncate))| ir::State {
                        name: format!("z_{index}"),
                        stored_as: String::new(),
                        init: ir::Normal { std, truncate },
                    });
                    let tokens = ir::Tokens { vocab, positions, learned_positions: learned };
                    let infer = infer.map(|infer| ir::Infer {
                        check: infer.check.filter(|check| check.fits(&tokens)),
                        ..infer
                    });
                    let mut model = ir::Model {
                        name: "generated".to_string(),
                        hidden,
                        tokens,
                        puzzles: puzzles.map(|(width, positions)| ir::Puzzles { width, positions }),
                        networks: networks.collect(),
                        states: states.collect(),
                        segment,
                        gradient,
                        token_head: ir::TokenHead { state: ir::StateId(token_state) },
                        q_head: outputs.map(|outputs| ir::QHead {
                            state: ir::StateId(q_state),
                            position: 0,
                            bias,
                            outputs,
                        }),
                        halt,
                        infer,
                        train: train.map(|(_, train)| train),
                    };
                    name_storage(&mut model);
                    model
                },
            )
        })
        .boxed()
}

/// Returns a model with the loop nest, the networks and the states of `one` and all else of `other`.
pub(crate) fn relative(one: &ir::Model, other: ir::Model) -> ir::Model {
    let states = one.states.iter().enumerate().map(|(index, state)| {
        let init = other.states[index % other.states.len()].init.clone();
        ir::State { init, ..state.clone() }
    });
    let networks = one.networks.iter().enumerate().map(|(index, network)| {
        let its = &other.networks[index % other.networks.len()];
        ir::Network { layers: its.layers, block: its.block.clone(), ..network.clone() }
    });
    let own = |state: ir::StateId| ir::StateId(state.0 % one.states.len());
    let q_head = other.q_head.clone().map(|q_head| ir::QHead { state: own(q_head.state), ..q_head });
    let mut model = ir::Model {
        states: states.collect(),
        networks: networks.collect(),
        segment: one.segment.clone(),
        token_head: ir::TokenHead { state: own(other.token_head.state) },
        q_head,
        ..other
    };
    name_storage(&mut model);
    model
}
