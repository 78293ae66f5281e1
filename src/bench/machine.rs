//! What the machine can do at most, measured.

use std::convert::Infallible;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::{pattern, repeat};
use crate::device::cpu::kernels::{ProductShape, Store, Weight, product_nt};
use crate::device::{DeviceError, Executable, Session};
use crate::graph::ops::{Linear, Scale};
use crate::graph::{Graph, Op, TensorType};
use crate::ir::Precision;
use crate::plan::{Demands, plan_for, round_factors};

/// Side of the square product whose speed counts as the peak.
const PEAK_SIDE: usize = 2048;

/// Elements that are copied to measure the speed of memory: 128 MiB, more than caches hold.
const COPIED: usize = 32 << 20;

/// Elements that one task copies.
const COPY_BLOCK: usize = 256 << 10;

/// Returns the best rate of one large product with factors in `precision`, in 10^9 operations per second.
pub(super) fn product_rate(session: &Session, precision: Precision) -> f64 {
    let side = PEAK_SIDE;
    let [a, b] = [1, 2].map(|seed| pattern(side * side, seed, 1.0));
    let mut out = vec![0.0; side * side];
    let shape = ProductShape::nt(side, side, side).with_precision(precision);
    let Ok(seconds) = repeat(8, || {
        session.install(|| product_nt(&mut out, &a, Weight::Rows(&b), None, Store::Replace, shape));
        Ok::<(), Infallible>(())
    });
    2.0 * (side as f64).powi(3) / best(seconds) / 1e9
}

/// Returns the best rate of a copy, bytes read and written, in 10^9 bytes per second.
pub(super) fn copy_rate(session: &Session) -> f64 {
    let from = vec![1.0_f32; COPIED];
    let mut to = vec![0.0_f32; COPIED];
    let Ok(seconds) = repeat(8, || {
        session.install(|| {
            to.par_chunks_mut(COPY_BLOCK)
                .zip(from.par_chunks(COPY_BLOCK))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
        Ok::<(), Infallible>(())
    });
    (2 * COPIED * size_of::<f32>()) as f64 / best(seconds) / 1e9
}

/// Sides of the products that are tried on a GPU, until one takes long enough to be judged by.
const DEVICE_SIDES: [usize; 4] = [1024, 2048, 4096, 8192];

/// Elements of the copies that are tried on a GPU.
const DEVICE_COPIES: [usize; 4] = [1 << 20, 1 << 23, 1 << 25, 1 << 27];

/// Seconds from which on what a GPU takes to begin does not count.
const LONG_ENOUGH: f64 = 1e-3;

/// Returns the best rate of one large product on a GPU, in 10^9 operations per second.
///
/// # Errors
///
/// Returns an error if the device fails.
pub(super) fn device_product_rate(precision: Precision) -> Result<f64, DeviceError> {
    judge(&DEVICE_SIDES, |side| {
        let mut graph = Graph::new();
        let [x, w] = ["x", "w"].map(|name| graph.input(name, TensorType::f32(&[side, side])));
        let y = graph.add1(Linear.into(), &[x, w]);
        graph.set_output("y", y);
        let seconds = seconds_of(graph, precision, |op| matches!(op, Op::Linear(_)))?;
        Ok((seconds, 2.0 * (side as f64).powi(3)))
    })
}

/// Returns the best rate of a copy on a GPU, bytes read and written, in 10^9 bytes per second.
///
/// # Errors
///
/// Returns an error if the device fails.
pub(super) fn device_copy_rate() -> Result<f64, DeviceError> {
    judge(&DEVICE_COPIES, |elements| {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[elements]));
        let y = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
        graph.set_output("y", y);
        let seconds = seconds_of(graph, Precision::F32, |op| matches!(op, Op::Scale(_)))?;
        Ok((seconds, (2 * elements * size_of::<f32>()) as f64))
    })
}

/// Returns the rate of the first size that takes long enough, or of the last, in units of 10^9; `measure` gives the
/// seconds and the work of a size.
fn judge(
    sizes: &[usize],
    mut measure: impl FnMut(usize) -> Result<(f64, f64), DeviceError>,
) -> Result<f64, DeviceError> {
    let mut rate = 0.0;
    for &size in sizes {
        let (seconds, work) = measure(size)?;
        rate = work / seconds / 1e9;
        if seconds >= LONG_ENOUGH {
            break;
        }
    }
    Ok(rate)
}

/// Returns the seconds that a GPU takes for the calls of a graph that are `wanted`, at best.
fn seconds_of(
    mut graph: Graph,
    precision: Precision,
    wanted: impl Fn(&Op) -> bool,
) -> Result<f64, DeviceError> {
    if precision == Precision::Bf16 {
        round_factors(&mut graph);
    }
    let plan = plan_for(&graph, Demands::cuda(precision));
    let wanted: Vec<bool> = plan.calls.iter().map(|call| wanted(&call.op)).collect();
    let mut session = Session::new(1)?;
    session.load("measured", Executable::Cuda(plan))?;
    let mut best = f64::INFINITY;
    for _ in 0..=8 {
        let mut sum = 0.0;
        session.run_profiled("measured", &mut |call, seconds| {
            sum += if wanted[call] { seconds } else { 0.0 };
        })?;
        best = best.min(sum);
    }
    Ok(best)
}

fn best(seconds: Vec<f64>) -> f64 {
    seconds.into_iter().fold(f64::INFINITY, f64::min)
}
