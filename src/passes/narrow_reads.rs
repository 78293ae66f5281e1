use crate::graph::ops::{Add, Linear, RmsNorm, Scale, Slice, SwiGlu};
use crate::graph::{Graph, NodeId, Op, Value};

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
        let wide = graph.operands(node)[Slice::X];
        if graph.only_reader(wide).is_none() {
            continue;
        }
        // The operands that have positions; the others are weights.
        let per_position: &[usize] = match graph.op(wide.node) {
            Op::Add(_) => &[Add::A, Add::B],
            Op::Linear(_) => &[Linear::X],
            Op::SwiGlu(_) => &[SwiGlu::X],
            Op::RmsNorm(_) => &[RmsNorm::X],
            Op::Scale(_) => &[Scale::X],
            _ => continue,
        };
        if graph.results(wide.node).into_iter().any(|other| other != wide && graph.is_read(other)) {
            continue;
        }
        let op = graph.op(wide.node).clone();
        let mut operands = graph.operands(wide.node);
        for &input in per_position {
            let operand = &mut operands[input];
            // Where a residual goes around operators that were narrowed, both ends meet in one slice, which
            // may be the last reader now.
            let found = equal_slice(graph, *operand, &slice);
            *operand = found
                .unwrap_or_else(|| graph.add_like(slice.clone().into(), &[*operand], wide.node)[Slice::Y]);
            open.push(operand.node);
        }
        let results = graph.add_like(op, &operands, wide.node);
        graph.replace(graph.results(node)[Slice::Y], results[usize::from(wide.output)]);
        graph.remove(node);
        graph.remove(wide.node);
    }
}

/// Returns the result of a reader of `value` that takes the same part.
fn equal_slice(graph: &Graph, value: Value, slice: &Slice) -> Option<Value> {
    let mut readers = graph.readers(value).into_iter();
    let (reader, _) =
        readers.find(|(reader, _)| matches!(graph.op(*reader), Op::Slice(other) if other == slice))?;
    Some(graph.results(reader)[Slice::Y])
}

/// Returns whether `node` takes some positions of `[B, S, D]`.
fn is_position_slice(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op(node), Op::Slice(Slice { axis: 1, .. }))
        && graph.ty(graph.results(node)[Slice::Y]).shape.len() == 3
}

#[cfg(test)]
mod tests {
    use super::narrow_reads;
    use crate::graph::ops::{Add, Attention, Linear, RmsNorm, Scale, Slice, SwiGlu, Transpose};
    use crate::graph::{Graph, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    fn first_position(graph: &mut Graph, x: Value) -> Value {
        graph.add1(Slice { axis: 1, start: 0, end: 1 }.into(), &[x])
    }

    #[test]
    fn only_the_position_that_is_read_goes_through_the_last_block() {
        shows("only_the_position_that_is_read_goes_through_the_last_block", narrow_reads, |graph| {
            let qkv = input(graph, "qkv", &[2, 5, 12]);
            let x = input(graph, "x", &[2, 5, 4]);
            let [out, up, down] = [("out", [4, 4]), ("up", [6, 4]), ("down", [4, 3])]
                .map(|(name, shape)| input(graph, name, &shape));
            let mixed = graph.add(Attention { heads: 1, rope_theta: None }.into(), &[qkv])[0];
            let change = graph.add1(Linear.into(), &[mixed, out]);
            let sum = graph.add1(Add.into(), &[x, change]);
            let x = graph.add(RmsNorm { eps: 0.1 }.into(), &[sum])[0];
            let wide = graph.add1(Linear.into(), &[x, up]);
            let hidden = graph.add1(SwiGlu.into(), &[wide]);
            let change = graph.add1(Linear.into(), &[hidden, down]);
            let sum = graph.add1(Add.into(), &[x, change]);
            let last = graph.add1(Scale { factor: 0.5 }.into(), &[sum]);
            let read = first_position(graph, last);
            graph.set_output("read", read);
        });
    }

    #[test]
    fn a_residual_in_front_of_its_change_is_narrowed_as_well() {
        shows("a_residual_in_front_of_its_change_is_narrowed_as_well", narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 5, 4]);
            let w = input(graph, "w", &[4, 4]);
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            let change = graph.add1(Linear.into(), &[doubled, w]);
            let sum = graph.add1(Add.into(), &[change, doubled]);
            let read = first_position(graph, sum);
            graph.set_output("read", read);
        });
    }

    #[test]
    fn a_sum_of_a_value_with_itself_is_narrowed_once() {
        shows("a_sum_of_a_value_with_itself_is_narrowed_once", narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 5, 4]);
            let twice = graph.add1(Add.into(), &[x, x]);
            let read = first_position(graph, twice);
            graph.set_output("read", read);
        });
    }

    #[test]
    fn a_value_that_anything_else_reads_is_computed_whole() {
        leaves_alone(narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 5, 4]);
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            let read = first_position(graph, doubled);
            graph.set_output("read", read);
            graph.set_output("whole", doubled);
        });
    }

    #[test]
    fn a_norm_whose_factors_are_kept_for_its_gradient_is_computed_whole() {
        leaves_alone(narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 5, 4]);
            let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[x]);
            let read = first_position(graph, norm[0]);
            graph.set_output("read", read);
            graph.set_output("factors", norm[1]);
        });
    }

    #[test]
    fn a_slice_of_what_mixes_positions_stays_where_it_is() {
        leaves_alone(narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 5, 4]);
            let turned = graph.add1(Transpose.into(), &[x]);
            let read = first_position(graph, turned);
            graph.set_output("read", read);
        });
    }

    #[test]
    fn a_slice_of_columns_is_no_read_of_positions() {
        leaves_alone(narrow_reads, |graph| {
            let x = input(graph, "x", &[2, 4]);
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            let read = first_position(graph, doubled);
            graph.set_output("read", read);
        });
    }
}
