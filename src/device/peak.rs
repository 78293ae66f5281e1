//! The peak rates of a device, measured through programs of a single operator.

use super::{DeviceError, Engine, Executable, Session};
use crate::graph::ops::{Linear, Scale};
use crate::graph::{Graph, Op, TensorType};
use crate::ir::Precision;
use crate::plan::{Demands, plan_for, round_factors};

/// Opens the device that is measured.
type OpenEngine<'a> = &'a dyn Fn() -> Result<Box<dyn Engine>, DeviceError>;

/// Sides of the products that are tried, until one takes long enough to be judged by.
const SIDES: [usize; 4] = [1024, 2048, 4096, 8192];

/// Elements of the copies that are tried.
const COPIES: [usize; 4] = [1 << 20, 1 << 23, 1 << 25, 1 << 27];

/// Seconds from which on what a device takes to begin does not count.
const LONG_ENOUGH: f64 = 1e-3;

/// Returns the best rate of one large product, in 10^9 operations per second.
pub(super) fn product_rate(open: OpenEngine<'_>, demands: Demands) -> Result<f64, DeviceError> {
    judge(&SIDES, |side| {
        let mut graph = Graph::new();
        let [x, w] = ["x", "w"].map(|name| graph.input(name, TensorType::f32(&[side, side])));
        let y = graph.add1(Linear.into(), &[x, w]);
        graph.set_output("y", y);
        let seconds = seconds_of(graph, open()?, demands, |op| matches!(op, Op::Linear(_)))?;
        Ok((seconds, 2.0 * (side as f64).powi(3)))
    })
}

/// Returns the best rate of a copy, bytes read and written, in 10^9 bytes per second.
pub(super) fn copy_rate(open: OpenEngine<'_>, demands: Demands) -> Result<f64, DeviceError> {
    judge(&COPIES, |elements| {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[elements]));
        let y = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
        graph.set_output("y", y);
        let seconds = seconds_of(graph, open()?, demands, |op| matches!(op, Op::Scale(_)))?;
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

/// Returns the seconds that the calls of a graph that are `wanted` take, at best.
fn seconds_of(
    mut graph: Graph,
    engine: Box<dyn Engine>,
    demands: Demands,
    wanted: impl Fn(&Op) -> bool,
) -> Result<f64, DeviceError> {
    if demands.storage == Precision::Bf16 {
        round_factors(&mut graph);
    }
    let plan = plan_for(&graph, demands);
    let wanted: Vec<bool> = plan.calls.iter().map(|call| wanted(&call.op)).collect();
    let mut session = Session::new(engine);
    session.load("measured", Executable::Plan(plan))?;
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
