use crate::graph::ops::{Attention, AttentionGrad, Rotate};
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
        let source = graph.operands(node)[Rotate::QKV];
        let rotated = graph.results(node)[Rotate::ROTATED];
        for (reader, _) in graph.readers(rotated) {
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
                    let Some(back) = graph.only_reader(graph.results(reader)[AttentionGrad::DQKV]) else {
                        continue;
                    };
                    let Op::Rotate(inverse) = graph.op(back) else { continue };
                    if !inverse.inverse || inverse.theta != rotation.theta || inverse.heads != rotation.heads
                    {
                        continue;
                    }
                    let mut inputs = graph.operands(reader);
                    inputs[AttentionGrad::QKV] = source;
                    let fused = AttentionGrad { rope_theta: Some(rotation.theta), ..grad };
                    let result = graph.add_like(fused.into(), &inputs, reader)[AttentionGrad::DQKV];
                    graph.replace(graph.results(back)[Rotate::ROTATED], result);
                    graph.remove(back);
                    graph.remove(reader);
                }
                _ => {}
            }
        }
        if !graph.is_read(rotated) {
            graph.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fuse_rotation;
    use crate::graph::ops::{Attention, AttentionGrad, Rotate};
    use crate::graph::{Graph, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    fn rotate(graph: &mut Graph, x: Value, theta: f32, inverse: bool) -> Value {
        graph.add1(Rotate { heads: 1, theta, inverse }.into(), &[x])
    }

    /// Adds `inverse rotation(attention_grad(qkv, ..))` of attention over `qkv`.
    fn attention_and_gradient(graph: &mut Graph, qkv: Value, back_theta: f32) {
        let attention = graph.add(Attention { heads: 1, rope_theta: None }.into(), &[qkv]);
        graph.set_output("mixed", attention[0]);
        let seed = input(graph, "seed", &[1, 3, 2]);
        let grad = AttentionGrad { heads: 1, rope_theta: None };
        let grad = graph.add1(grad.into(), &[qkv, attention[1], seed]);
        let back = rotate(graph, grad, back_theta, true);
        graph.set_output("gradient", back);
    }

    #[test]
    fn rotation_moves_into_attention_and_its_gradient() {
        shows("rotation_moves_into_attention_and_its_gradient", fuse_rotation, |graph| {
            let x = input(graph, "x", &[1, 3, 6]);
            let qkv = rotate(graph, x, 10.0, false);
            attention_and_gradient(graph, qkv, 10.0);
        });
    }

    #[test]
    fn a_rotation_that_is_read_elsewhere_stays_beside_the_attention_it_moved_into() {
        let fact = "a_rotation_that_is_read_elsewhere_stays_beside_the_attention_it_moved_into";
        shows(fact, fuse_rotation, |graph| {
            let x = input(graph, "x", &[1, 3, 6]);
            let qkv = rotate(graph, x, 10.0, false);
            let mixed = graph.add(Attention { heads: 1, rope_theta: None }.into(), &[qkv])[0];
            graph.set_output("mixed", mixed);
            graph.set_output("rotated", qkv);
        });
    }

    #[test]
    fn a_gradient_with_another_inverse_behind_it_keeps_its_rotation() {
        let fact = "a_gradient_with_another_inverse_behind_it_keeps_its_rotation";
        shows(fact, fuse_rotation, |graph| {
            let x = input(graph, "x", &[1, 3, 6]);
            let qkv = rotate(graph, x, 10.0, false);
            attention_and_gradient(graph, qkv, 20.0);
        });
    }

    #[test]
    fn attention_over_what_was_turned_back_is_left_alone() {
        leaves_alone(fuse_rotation, |graph| {
            let x = input(graph, "x", &[1, 3, 6]);
            let qkv = rotate(graph, x, 10.0, true);
            let mixed = graph.add(Attention { heads: 1, rope_theta: None }.into(), &[qkv])[0];
            graph.set_output("mixed", mixed);
        });
    }

    #[test]
    fn attention_with_other_heads_is_left_alone() {
        leaves_alone(fuse_rotation, |graph| {
            let x = input(graph, "x", &[1, 3, 12]);
            let qkv = rotate(graph, x, 10.0, false);
            let mixed = graph.add(Attention { heads: 2, rope_theta: None }.into(), &[qkv])[0];
            graph.set_output("mixed", mixed);
        });
    }
}
