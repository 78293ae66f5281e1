use crate::graph::ops::{Attention, AttentionGrad};
use crate::graph::{Graph, Op};

/// Moves the rotation of queries and keys into attention and into its gradient.
///
/// Rewrites `attention(rotate(qkv))` and `rotate⁻¹(attention_grad(rotate(qkv), ..))`. The unrotated `qkv` is
/// what stays in memory for the backward pass. Leaves alone a rotation with another inverse behind it.
pub fn fuse_rotation(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node) {
            continue;
        }
        let Op::Rotate(rotation) = graph.op(node).clone() else { continue };
        if rotation.inverse {
            continue;
        }
        let source = graph.operands(node)[0];
        for (reader, _) in graph.readers(graph.results(node)[0]) {
            match graph.op(reader).clone() {
                Op::Attention(attention)
                    if attention.rope_theta.is_none() && attention.heads == rotation.heads =>
                {
                    let fused = Attention { rope_theta: Some(rotation.theta), ..attention };
                    let results = graph.add_like(fused.into(), &[source], reader);
                    for (old, new) in graph.results(reader).into_iter().zip(results) {
                        graph.replace(old, new);
                    }
                    graph.remove(reader);
                }
                Op::AttentionGrad(grad) if grad.rope_theta.is_none() && grad.heads == rotation.heads => {
                    let Some(back) = graph.only_reader(graph.results(reader)[0]) else { continue };
                    let Op::Rotate(inverse) = graph.op(back) else { continue };
                    if !inverse.inverse || inverse.theta != rotation.theta || inverse.heads != rotation.heads
                    {
                        continue;
                    }
                    let mut inputs = graph.operands(reader);
                    inputs[0] = source;
                    let fused = AttentionGrad { rope_theta: Some(rotation.theta), ..grad };
                    let result = graph.add_like(fused.into(), &inputs, reader)[0];
                    graph.replace(graph.results(back)[0], result);
                    graph.remove(back);
                    graph.remove(reader);
                }
                _ => {}
            }
        }
        if !graph.is_read(graph.results(node)[0]) {
            graph.remove(node);
        }
    }
}
