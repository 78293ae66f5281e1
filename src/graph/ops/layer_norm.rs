//! The norm of layers, with a learned scale and shift.

use super::{Backward, Operation, ShapeError, SumLeading, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `y = (x - mean) factor scale + shift` with `factor = 1 / sqrt(variance + eps)` per row (Ba et al. 2016):
/// `x [.., D]`, `scale [D]`, `shift [D]` to `y [.., D]`, `mean [..]` and `factor [..]`. The variance is the mean
/// square distance from the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

/// Gradient of [`LayerNorm`] with respect to `x`, from `x`, `mean`, `factor`, `scale` and `dy`.
///
/// With `n = (x - mean) factor` and `g = dy scale`: `dx = factor (g - mean(g) - n mean(g n))`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormGrad;

/// Gradient of [`LayerNorm`] with respect to the scale, `[D]`: the sum of `dy (x - mean) factor` over all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormGradScale;

fn rows_type(x: &TensorType) -> TensorType {
    TensorType::f32(&x.shape[..x.shape.len().saturating_sub(1)])
}

/// Repeats a value per row along the rows.
fn wide(p: &mut Primitives, of_rows: Tensor, width: usize) -> Tensor {
    let last = p.shape(of_rows).len();
    p.expand(of_rows, last, width)
}

/// Repeats a row for each of the rows of `x`.
fn each_row(p: &mut Primitives, row: Tensor, x: Tensor) -> Tensor {
    let shape = p.shape(x);
    p.expand_leading(row, &shape[..shape.len() - 1])
}

fn row_mean(p: &mut Primitives, x: Tensor) -> Tensor {
    let shape = p.shape(x);
    let last = shape.len() - 1;
    let sum = p.sum(x, last);
    p.scale(sum, 1.0 / shape[last] as f32)
}

/// Returns `(x - mean) factor`.
fn normalized(p: &mut Primitives, x: Tensor, mean: Tensor, factor: Tensor) -> Tensor {
    let shape = p.shape(x);
    let width = shape[shape.len() - 1];
    let mean = wide(p, mean, width);
    let factor = wide(p, factor, width);
    let centred = p.sub(x, mean);
    p.mul(centred, factor)
}

operands!(LayerNorm { inputs: [X, SCALE: F32, SHIFT: F32], outputs: [Y, MEAN: F32, FACTOR: F32] });

impl Operation for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("eps", format!("{:?}", self.eps))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let x = &inputs[Self::X];
        let row = TensorType::f32(&[x.width()]);
        for weight in [Self::SCALE, Self::SHIFT] {
            require(inputs[weight] == row, || format!("needs {row}, found {}", inputs[weight]))?;
        }
        Ok(vec![x.clone(), rows_type(x), rows_type(x)])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[Self::X];
        let shape = p.shape(x);
        let mean = row_mean(p, x);
        let wide_mean = wide(p, mean, shape[shape.len() - 1]);
        let centred = p.sub(x, wide_mean);
        let square = p.mul(centred, centred);
        let variance = row_mean(p, square);
        let padded = p.offset(variance, self.eps);
        let root = p.sqrt(padded);
        let factor = p.recip(root);
        let normalized = normalized(p, x, mean, factor);
        let scale = each_row(p, inputs[Self::SCALE], x);
        let shift = each_row(p, inputs[Self::SHIFT], x);
        let scaled = p.mul(normalized, scale);
        vec![p.add(scaled, shift), mean, factor]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let x = at.inputs[Self::X];
        let (mean, factor) = (at.outputs[Self::MEAN], at.outputs[Self::FACTOR]);
        let dy = at.gradient();
        let dx = at.wanted[Self::X].then(|| {
            let inputs = [x, mean, factor, at.inputs[Self::SCALE], dy];
            graph.add1(LayerNormGrad.into(), &inputs)
        });
        let dscale =
            at.wanted[Self::SCALE].then(|| graph.add1(LayerNormGradScale.into(), &[x, mean, factor, dy]));
        let dshift = at.wanted[Self::SHIFT].then(|| graph.add1(SumLeading { axes: 1 }.into(), &[dy]));
        vec![dx, dscale, dshift]
    }
}

operands!(LayerNormGrad { inputs: [X, MEAN: F32, FACTOR: F32, SCALE: F32, DY], outputs: [DX] });

impl Operation for LayerNormGrad {
    fn name(&self) -> &'static str {
        "layer_norm_grad"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let x = &inputs[Self::X];
        require_equal(x, &inputs[Self::DY])?;
        require_equal(&rows_type(x), &inputs[Self::MEAN])?;
        require_equal(&rows_type(x), &inputs[Self::FACTOR])?;
        require_equal(&TensorType::f32(&[x.width()]), &inputs[Self::SCALE])?;
        Ok(vec![x.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, factor) = (inputs[Self::X], inputs[Self::FACTOR]);
        let shape = p.shape(x);
        let width = shape[shape.len() - 1];
        let normalized = normalized(p, x, inputs[Self::MEAN], factor);
        let scale = each_row(p, inputs[Self::SCALE], x);
        let scaled = p.mul(inputs[Self::DY], scale);
        let mean = row_mean(p, scaled);
        let product = p.mul(scaled, normalized);
        let along = row_mean(p, product);
        let along = wide(p, along, width);
        let along = p.mul(normalized, along);
        let mean = wide(p, mean, width);
        let centred = p.sub(scaled, mean);
        let across = p.sub(centred, along);
        let factor = wide(p, factor, width);
        vec![p.mul(across, factor)]
    }
}

operands!(LayerNormGradScale { inputs: [X, MEAN: F32, FACTOR: F32, DY], outputs: [DSCALE: F32] });

impl Operation for LayerNormGradScale {
    fn name(&self) -> &'static str {
        "layer_norm_grad_scale"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let x = &inputs[Self::X];
        require_equal(x, &inputs[Self::DY])?;
        require_equal(&rows_type(x), &inputs[Self::MEAN])?;
        require_equal(&rows_type(x), &inputs[Self::FACTOR])?;
        Ok(vec![TensorType::f32(&[x.width()])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[Self::X];
        let shape = p.shape(x);
        let width = shape[shape.len() - 1];
        let normalized = normalized(p, x, inputs[Self::MEAN], inputs[Self::FACTOR]);
        let product = p.mul(inputs[Self::DY], normalized);
        let rows = p.reshape(product, &[shape[..shape.len() - 1].iter().product(), width]);
        vec![p.sum(rows, 0)]
    }
}
