//! Every operator on the emulated CUDA kernels.

use hrmc::backend::Device;
use hrmc::graph::{Graph, TensorType};
use hrmc::ir::Precision;
use hrmc::plan::plan;

use crate::emulator::{Contents, Emulator, ORDERS};
use crate::running::{Loaded, graph_of, result_names};
use crate::samples::{Agreement, Sample, Sizes, Values};

/// Returns the bits of contents, by the names of [`running::add_inputs`](crate::running::add_inputs).
fn contents(inputs: &[(TensorType, Values)]) -> Contents {
    let bits = |values: &Values| match values {
        Values::F32(values) => values.clone(),
        Values::I32(values) => values.iter().map(|&value| f32::from_bits(value.cast_unsigned())).collect(),
    };
    inputs.iter().enumerate().map(|(index, (_, values))| (format!("input.{index}"), bits(values))).collect()
}

/// Largest difference of results relative to `1 + |expected|`.
///
/// Sums have at most some two hundred terms no larger than four, rounded to half of `f32::EPSILON` each: ten
/// times less in practice, since the errors have either sign.
pub const TOLERANCE: f32 = 1e-4;

/// Says where a sample gives something else on `emulator` than on `device`, in any order of threads.
pub fn differs(emulator: &Emulator, sample: &Sample, device: Device) -> Option<String> {
    let expected = Loaded::new(graph_of(sample), device).run(&sample.inputs);
    let tolerance = match sample.agreement {
        Agreement::Exact => 0.0,
        Agreement::Rounded => TOLERANCE,
    };
    ORDERS.into_iter().find_map(|order| {
        let graph: Graph = graph_of(sample);
        let names = result_names(&graph);
        match emulator.run(&plan(&graph, Precision::F32), &contents(&sample.inputs), order) {
            Err(problem) => Some(format!("order {order}: {problem}")),
            Ok(mut found) => {
                found.retain(|name, _| names.contains(name));
                crate::running::difference_within(&found, &expected, tolerance)
                    .map(|problem| format!("order {order}: {problem}"))
            }
        }
    })
}

/// Sizes that fill more than one tile, warp or block of each kernel and end within another.
pub const LARGE: [Sizes; 2] = [
    Sizes { batch: 2, positions: 70, heads: 2, half: 18, inner: 37, vocab: 41 },
    Sizes { batch: 9, positions: 11, heads: 1, half: 37, inner: 66, vocab: 70 },
];
