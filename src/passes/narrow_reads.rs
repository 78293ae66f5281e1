use crate::graph::ops::Slice;
use crate::graph::{Graph, NodeId, Op};

/// Computes only the positions that are read: moves a slice of positions above operators that treat each
/// position alone.
///
/// The target pass of Q-learning reads one position of its last state; this stops at the attention of the
/// last layer, which needs every key. Leaves alone values that anything else reads.
pub fn narrow_reads(graph: &mut Graph) {
    let mut open: Vec<NodeId> =
        graph.order().into_iter().rev().filter(|&node| is_position_slice(graph, node)).collect();
    while let Some(node) = open.pop() {
        if !graph.contains(node) {
            continue;
        }
        let Op::Slice(slice) = graph.op(node).clone() else { continue };
        let wide = graph.operands(node)[0];
        if graph.only_reader(wide).is_none() {
            continue;
        }
        // How many leading operands have positions; the others are weights.
        let per_position = match graph.op(wide.node) {
            Op::Add(_) => 2,
            Op::Linear(_) | Op::SwiGlu(_) | Op::RmsNorm(_) | Op::Scale(_) => 1,
            _ => continue,
        };
        if graph.results(wide.node).iter().skip(1).any(|&other| graph.is_read(other)) {
            continue;
        }
        let op = graph.op(wide.node).clone();
        let mut operands = graph.operands(wide.node);
        for index in 0..per_position {
            if index > 0 && operands[index] == graph.operands(wide.node)[0] {
                operands[index] = operands[0];
                continue;
            }
            let part = graph.add_like(slice.clone().into(), &[operands[index]], wide.node)[0];
            operands[index] = part;
            open.push(part.node);
        }
        let results = graph.add_like(op, &operands, wide.node);
        graph.replace(graph.results(node)[0], results[0]);
        graph.remove(node);
        graph.remove(wide.node);
    }
}

/// Returns whether `node` takes some positions of `[B, T, D]`.
fn is_position_slice(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Slice(Slice { axis: 1, .. }))
        && graph.ty(graph.results(node)[0]).shape.len() == 3
}
