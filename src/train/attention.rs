//! The weights of attention, which no kernel keeps.

use crate::graph::ops::rope_tables;

/// Returns the softmax of `q kᵀ / sqrt(E)` of each head, `[A, S, S]`: the first index behind the head is the position
/// that takes up, the last one the position that it attends to.
///
/// `qkv` are queries, keys and values of one row, `[S, 3D]`, as [`Attention`](crate::graph::ops::Attention) takes them.
/// With a base, queries and keys are rotated first.
pub(super) fn attention_weights(
    qkv: &[f32],
    width: usize,
    heads: usize,
    rope_theta: Option<f32>,
) -> Vec<f32> {
    let positions = qkv.len() / (3 * width);
    let head_width = width / heads;
    let tables = rope_theta.map(|theta| rope_tables(positions, head_width, theta));
    // One head of the queries (third 0) or keys (third 1), `[S, E]`.
    let part = |third: usize, head: usize| -> Vec<f32> {
        let first = third * width + head * head_width;
        let mut rows = Vec::with_capacity(positions * head_width);
        for (position, row) in qkv.chunks_exact(3 * width).enumerate() {
            let x = &row[first..first + head_width];
            let half = head_width / 2;
            for column in 0..head_width {
                let Some((cos, sin)) = &tables else {
                    rows.push(x[column]);
                    continue;
                };
                let turned = if column < half { -x[column + half] } else { x[column - half] };
                let at = position * head_width + column;
                rows.push(x[column] * cos[at] + turned * sin[at]);
            }
        }
        rows
    };
    let scale = 1.0 / (head_width as f32).sqrt();
    let mut weights = Vec::with_capacity(heads * positions * positions);
    for head in 0..heads {
        let (queries, keys) = (part(0, head), part(1, head));
        for query in queries.chunks_exact(head_width) {
            let product = |key: &[f32]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() * scale;
            let scores: Vec<f32> = keys.chunks_exact(head_width).map(product).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shares: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f32 = shares.iter().sum();
            weights.extend(shares.iter().map(|share| share / sum));
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::attention_weights;
    use crate::device::cpu::Cpu;
    use crate::device::{EngineOptions, Executable, Session};
    use crate::graph::ops::{Attention, Rotate};
    use crate::graph::{Graph, TensorType};
    use crate::ir::Precision;
    use crate::plan::plan;

    /// Runs attention on the CPU.
    fn attention(qkv: &[f32], positions: usize, width: usize, heads: usize, theta: Option<f32>) -> Vec<f32> {
        let mut graph = Graph::new();
        let mut input = graph.input("qkv", TensorType::f32(&[1, positions, 3 * width]));
        if let Some(theta) = theta {
            input = graph.add1(Rotate { heads, theta, inverse: false }.into(), &[input]);
        }
        let out = graph.add(Attention { heads, rope_theta: None }.into(), &[input])[Attention::OUT];
        graph.set_output("out", out);
        let mut session = Session::open(&Cpu, &EngineOptions { threads: 1 }).expect("it is small");
        session.load("attention", Executable::Plan(plan(&graph, Precision::F32))).expect("it is small");
        session.f32_mut("qkv").expect("it is an input").copy_from_slice(qkv);
        session.run("attention").expect("the processor does not fail");
        session.f32("out").expect("it is an output").to_vec()
    }

    #[test]
    fn the_weights_mix_the_values_as_the_kernel_does() {
        let (positions, width, heads) = (7, 16, 2);
        let qkv: Vec<f32> = (0..positions * 3 * width).map(|index| (1.3 * index as f32).sin()).collect();
        for theta in [None, Some(30.0)] {
            let weights = attention_weights(&qkv, width, heads, theta);
            let expected = attention(&qkv, positions, width, heads, theta);
            for (at, &expected) in expected.iter().enumerate() {
                let (position, column) = (at / width, at % width);
                let head = column / (width / heads);
                let row = &weights[(head * positions + position) * positions..][..positions];
                let mixed = |(key, weight): (usize, &f32)| weight * qkv[key * 3 * width + 2 * width + column];
                let found: f32 = row.iter().enumerate().map(mixed).sum();
                // Seven terms of at most 1 in f32, each rounded once or twice.
                assert!((found - expected).abs() < 1e-5, "{theta:?}, {at}: {found} and {expected}");
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
