//! A checked model as the text of a spec, with every default written out.
//!
//! The text says the same as the spec the model came from, but not in the same words: constants are
//! computed, equal blocks are one block, and widths stand in place of the factors they came from.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::keys::RESERVED;
use crate::ir::{
    Block, Data, Gradient, Halt, Length, Loss, Mixing, Model, Operand, Optimizer, Precision, QOutputs,
    QTarget, ScheduleShape, Step, Train, Update,
};
use crate::span::Source;
use crate::syntax::{format as canonical, quote};

/// Returns the text of a spec that checks to a model equal to `model`.
pub fn show(model: &Model) -> String {
    let mut show = Show { model, text: String::new() };
    show.model();
    if let Some(train) = &model.train {
        show.train(train);
    }
    let source = Source::new(model.name.as_str(), show.text);
    canonical(&source).expect("what is written here follows the grammar")
}

struct Show<'a> {
    model: &'a Model,
    text: String,
}

impl Show<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        writeln!(self.text, "{}", line.as_ref()).expect("memory takes every byte");
    }

    fn model(&mut self) {
        let model = self.model;
        self.line(format!("model {} {{", model.name));
        let (vocab, positions) = (model.tokens.vocab, model.tokens.positions);
        self.line(format!("tokens {{ vocab = {}, positions = {} }}", whole(vocab), whole(positions)));
        if let Some(puzzles) = &model.puzzles {
            let (width, positions) = (puzzles.width, puzzles.positions);
            self.line(format!("puzzles {{ width = {}, positions = {} }}", whole(width), whole(positions)));
        }
        let mut blocks: Vec<&Block> = Vec::new();
        for network in &model.networks {
            if !blocks.contains(&&network.block) {
                blocks.push(&network.block);
            }
        }
        let names = block_names(model, blocks.len());
        for (block, name) in blocks.iter().zip(&names) {
            self.block(block, name);
        }
        self.line("");
        for network in &model.networks {
            let block =
                blocks.iter().position(|block| **block == network.block).expect("every block is listed");
            self.line(format!("network {} = {} * {}", network.name, whole(network.layers), names[block]));
        }
        self.line("");
        for state in &model.states {
            let (std, truncate) = (real(state.init.std), real(state.init.truncate));
            self.line(format!("state {} = normal(std = {std}, truncate = {truncate})", state.name));
        }
        self.line("\nsegment {");
        self.steps(&model.segment);
        self.line("}");
        self.line(match &model.gradient {
            Gradient::OneStep => "gradient one_step".to_string(),
            Gradient::Last { count, label } => format!("gradient last {} {label}", whole(*count)),
            Gradient::Full => "gradient full".to_string(),
        });
        self.line(format!("\npredict tokens from {}", model.states[model.token_head.state.0].name));
        if let Some(q_head) = &model.q_head {
            let state = &model.states[q_head.state.0].name;
            let outputs = match q_head.outputs {
                QOutputs::HaltContinue => "(halt, continue)",
                QOutputs::Halt => "halt",
            };
            let (position, bias) = (whole(q_head.position), real(q_head.bias));
            self.line(format!("predict q from {state}[{position}] {{ outputs = {outputs}, bias = {bias} }}"));
        }
        self.line("");
        self.line(match &model.halt {
            Halt::QLearning { max_segments, explore, target } => {
                let (max_segments, explore) = (whole(*max_segments), real(*explore));
                let target = match target {
                    QTarget::Bootstrap => "bootstrap",
                    QTarget::None => "none",
                };
                format!("halt q_learning {{ max_segments = {max_segments}, explore = {explore}, target = {target} }}")
            }
            Halt::Bce { max_segments, explore } => {
                let (max_segments, explore) = (whole(*max_segments), real(*explore));
                format!("halt bce {{ max_segments = {max_segments}, explore = {explore} }}")
            }
            Halt::Fixed { segments } => format!("halt fixed(segments = {})", whole(*segments)),
            Halt::Residual { eps, max_segments } => {
                let (eps, max_segments) = (real(*eps), whole(*max_segments));
                format!("halt residual {{ eps = {eps}, max_segments = {max_segments} }}")
            }
        });
        if let Some(infer) = &model.infer {
            let rollouts = infer.rollouts.map_or(String::new(), |rollouts| {
                format!(", rollouts = {}, noise = {}", whole(rollouts.count), real(rollouts.noise))
            });
            let segments = whole(infer.segments);
            self.line(format!("infer {{ segments = {segments}, halt = {}{rollouts} }}", infer.halt));
        }
        self.line("}");
    }

    fn block(&mut self, block: &Block, name: &str) {
        let model = self.model;
        self.line(format!("\nblock {name} {{"));
        self.line(format!("hidden = {}", whole(model.hidden)));
        let rope_theta = match &block.mixing {
            Mixing::Attention { heads, rope_theta } => {
                self.line(format!("mixing = attention\nheads = {}", whole(*heads)));
                *rope_theta
            }
            Mixing::Mlp { inner } => {
                self.line(format!("mixing = mlp(width = {})", whole(*inner)));
                None
            }
        };
        self.line(match rope_theta {
            Some(theta) => format!("positions = rope(theta = {})", real(theta)),
            None if model.tokens.learned_positions => "positions = learned".to_string(),
            None => "positions = none".to_string(),
        });
        self.line(format!("mlp = swiglu(width = {})", whole(block.inner)));
        self.line(format!("norm = post_rms(eps = {})\n}}", real(block.norm_eps)));
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Update(Update { state, network, operands }) => {
                    let operands: Vec<&str> = operands
                        .iter()
                        .map(|operand| match operand {
                            Operand::State(state) => self.model.states[state.0].name.as_str(),
                            Operand::Input => "x",
                        })
                        .collect();
                    let (state, network) =
                        (&self.model.states[state.0].name, &self.model.networks[network.0].name);
                    self.line(format!("{state} <- {network}({})", operands.join(" + ")));
                }
                Step::Repeat(repeat) => {
                    let label = repeat.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
                    self.line(format!("{label}repeat {} {{", whole(repeat.count)));
                    self.steps(&repeat.body);
                    self.line("}");
                }
            }
        }
    }

    fn train(&mut self, train: &Train) {
        self.line("train {");
        self.line(format!("data = {}", data(&train.data)));
        self.line(match train.loss {
            Loss::Stablemax => "loss = stablemax",
            Loss::Softmax => "loss = softmax",
        });
        let (name, eps) = match &train.optimizer {
            Optimizer::AdamAtan2(_) => ("adam_atan2", String::new()),
            Optimizer::AdamW { eps, .. } => ("adamw", format!(", eps = {}", real(*eps))),
        };
        let adam = train.optimizer.adam();
        let betas = format!("({}, {})", real(adam.beta1), real(adam.beta2));
        let (lr, weight_decay) = (real(adam.lr), real(adam.weight_decay));
        self.line(format!(
            "optimizer = {name}(lr = {lr}, betas = {betas}, weight_decay = {weight_decay}{eps})"
        ));
        if let Some(puzzles) = &train.puzzle_optimizer {
            let (lr, weight_decay) = (real(puzzles.lr), real(puzzles.weight_decay));
            self.line(format!("puzzles = sign_sgd(lr = {lr}, weight_decay = {weight_decay})"));
        }
        if let Some(ema) = train.ema {
            self.line(format!("ema = {}", real(ema)));
        }
        let (warmup_steps, min_ratio) = (whole(train.schedule.warmup_steps), real(train.schedule.min_ratio));
        self.line(match train.schedule.shape {
            ScheduleShape::Constant => format!("schedule = constant(warmup_steps = {warmup_steps})"),
            ScheduleShape::Cosine => {
                format!("schedule = cosine(warmup_steps = {warmup_steps}, min_ratio = {min_ratio})")
            }
            ScheduleShape::Linear => {
                format!("schedule = linear(warmup_steps = {warmup_steps}, min_ratio = {min_ratio})")
            }
        });
        self.line(format!("batch = {}", whole(train.batch)));
        self.line(match train.length {
            Length::Epochs(count) => format!("epochs = {}", epochs(count)),
            Length::Steps(steps) => format!("steps = {}", whole(steps)),
        });
        match train.eval_every {
            Some(Length::Epochs(count)) => self.line(format!("eval_every = {} epochs", epochs(count))),
            Some(Length::Steps(steps)) => self.line(format!("eval_every = {} steps", whole(steps))),
            None => {}
        }
        self.line(match train.precision {
            Precision::F32 => "precision = f32",
            Precision::Bf16 => "precision = bf16",
        });
        self.line(format!("seed = {}\n}}", whole(train.seed)));
    }
}

fn data(data: &Data) -> String {
    match data {
        Data::Folder(folder) => quote(folder),
        Data::Sudoku(sudoku) => format!(
            "sudoku(size = {}, givens = {}, train = {}, test = {}, augment = {})",
            whole(sudoku.size),
            whole(sudoku.givens),
            whole(sudoku.train),
            whole(sudoku.test),
            sudoku.augment
        ),
        Data::Maze(maze) => format!(
            "maze(size = {}, min_path = {}, train = {}, test = {})",
            whole(maze.size),
            whole(maze.min_path),
            whole(maze.train),
            whole(maze.test)
        ),
    }
}

/// Returns names for the blocks that no state or network has.
fn block_names(model: &Model, count: usize) -> Vec<String> {
    let mut taken: BTreeSet<String> = RESERVED.iter().map(|name| (*name).to_string()).collect();
    taken.extend(model.states.iter().map(|state| state.name.clone()));
    taken.extend(model.networks.iter().map(|network| network.name.clone()));
    (1..=count)
        .map(|number| {
            let mut name = if count == 1 { "encoder".to_string() } else { format!("encoder_{number}") };
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            name
        })
        .collect()
}

/// Returns a whole number as a spec spells it, its thousands set off.
pub fn whole(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// Returns the shortest text that reads as the number.
fn real(number: f32) -> String {
    if number.fract() == 0.0 && (1_000.0..16_777_216.0).contains(&number) {
        return whole(number as u64);
    }
    format!("{number:?}")
}

/// Returns the shortest text that reads as the number of epochs.
fn epochs(number: f64) -> String {
    if number.fract() == 0.0 && number < 1e15 {
        return whole(number as u64);
    }
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::{collection, option, prop_assert_eq, prop_assume, proptest};

    use super::{show, whole};
    use crate::check::{check, segment};
    use crate::diagnostic::Code;
    use crate::ir;
    use crate::ir::testing::{repeat, update};
    use crate::span::Source;
    use crate::syntax::{format, parse};

    #[test]
    fn thousands_are_set_off() {
        assert_eq!(
            ["7", "999", "1_000", "12_345_678"],
            [7u64, 999, 1_000, 12_345_678].map(whole).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn shipped_specs_come_back_equal_and_canonical() {
        for text in [
            include_str!("../../specs/maze.hrm"),
            include_str!("../../specs/sudoku.hrm"),
            include_str!("../../specs/sudoku-small.hrm"),
            include_str!("../../specs/quickstart.hrm"),
        ] {
            let model = super::super::tests::model(text);
            let shown = show(&model);
            assert_eq!(super::super::tests::model(&shown), model, "{shown}");
            assert_eq!(format(&Source::new("a", shown.as_str())), Ok(shown));
        }
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
        (2usize..40, any::<bool>(), option::of(rollouts)).prop_map(move |(segments, halt, rollouts)| {
            ir::Infer { segments, halt: halt && !fixed, rollouts: rollouts.filter(|_| !fixed) }
        })
    }

    fn length() -> impl Strategy<Value = ir::Length> {
        prop_oneof![
            (1u64..1_000_000).prop_map(ir::Length::Steps),
            (1e-3f64..1e6).prop_map(ir::Length::Epochs),
        ]
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
        let rest = (loss, precision, any::<u64>(), 1usize..10_000, option::of(0.001f32..0.999));
        let folder = "[a-z\"\\\\\\n\\t#é]{0,8}x";
        (folder, optimizer, puzzle_optimizer, schedule, length(), option::of(length()), rest).prop_map(
            |(folder, optimizer, puzzle_optimizer, schedule, length, eval_every, rest)| {
                let (loss, precision, seed, batch, ema) = rest;
                let data = ir::Data::Folder(folder);
                ir::Train {
                    data,
                    loss,
                    optimizer,
                    puzzle_optimizer,
                    ema,
                    schedule,
                    batch,
                    length,
                    eval_every,
                    precision,
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

    fn models() -> impl Strategy<Value = ir::Model> {
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
                let train = any::<bool>()
                    .prop_flat_map(|puzzles| train(puzzles).prop_map(move |train| (puzzles, train)));
                let rest = (heads, option::of(train));
                (blocks, puzzles, inits, steps(states, networks), gradient, tokens, rest).prop_map(
                    move |(blocks, puzzles, inits, segment, gradient, (vocab, positions), (heads, train))| {
                        let (token_state, q_state, bias, ((halt, outputs), infer)) = heads;
                        let puzzles = match &train {
                            Some((has_puzzles, _)) => puzzles.or(Some((5, 8))).filter(|_| *has_puzzles),
                            None => puzzles,
                        };
                        let networks =
                            blocks.into_iter().enumerate().map(|(index, (block, layers))| ir::Network {
                                name: format!("net_{index}"),
                                stored_as: String::new(),
                                layers,
                                block,
                            });
                        let states =
                            inits.into_iter().enumerate().map(|(index, (std, truncate))| ir::State {
                                name: format!("z_{index}"),
                                stored_as: String::new(),
                                init: ir::Normal { std, truncate },
                            });
                        let mut model = ir::Model {
                            name: "generated".to_string(),
                            hidden,
                            tokens: ir::Tokens { vocab, positions, learned_positions: learned },
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
                        segment::name_storage(&mut model);
                        model
                    },
                )
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn shown_models_check_to_equal_models(model in models()) {
            let shown = show(&model);
            let parsed = parse(&Source::new("shown.hrm", shown.as_str()));
            prop_assert_eq!(&parsed.diagnostics, &[]);
            let checked = check(&parsed.file);
            // Generated loop nests may be refused for what they leave out, and only for that.
            let idle = [
                Code::StateNeverRead,
                Code::StateNeverUpdated,
                Code::NetworkNeverUsed,
                Code::NetworkWithoutGradient,
            ];
            prop_assume!(!checked.diagnostics.iter().any(|diagnostic| idle.contains(&diagnostic.code)));
            prop_assert_eq!(checked.model, Some(model));
        }
    }
}
