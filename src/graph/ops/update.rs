//! Update rules, working in place.
//!
//! Scalars that change from step to step are inputs of shape `[1]`; they are computed in f64 outside.
//!
//! A rule that follows gradients also sums up their squares, and says with that sum whether they and the new weights
//! are finite. It has the numbers at hand, so both cost next to nothing. Training learns the norm of the gradient of
//! each step, and of the first bad number in the step that makes it.

use super::{Operation, ShapeError, require, require_equal};
use crate::graph::TensorType;
use crate::graph::luminal::{Primitives, Tensor};

/// Adam with `atan2` in place of the division.
///
/// `p *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p -= step_scale atan2(m, sqrt(v) root_scale)` with
/// `step_scale = lr / (1 - b1^t)` and `root_scale = 1 / sqrt(1 - b2^t)`.
///
/// Inputs `p`, `m`, `v`, `g`, `lr`, `step_scale`, `root_scale`; outputs the new `p`, `m`, `v`, and for each [`STRETCH`]
/// of them the sum of `g²`, or something that is not finite if a new `p` or `v` is not. A gradient that is not finite
/// or whose squares have no finite sum shows there, too.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamAtan2 {
    /// Decay `b1` of the first moment.
    pub beta1: f32,
    /// Decay `b2` of the second moment.
    pub beta2: f32,
    /// Decoupled decay `wd`.
    pub weight_decay: f32,
}

/// Adam with decoupled decay: as [`AdamAtan2`], but `p -= step_scale m / (sqrt(v) root_scale + eps)`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Decay `b1` of the first moment.
    pub beta1: f32,
    /// Decay `b2` of the second moment.
    pub beta2: f32,
    /// Decoupled decay `wd`.
    pub weight_decay: f32,
    /// Added to the denominator.
    pub eps: f32,
}

/// Sign descent on the rows of a table that occur in a batch.
///
/// Gradients of equal row numbers are summed; each row that occurs becomes `w (1 - lr wd) - lr sign(sum)`, once.
/// Inputs `table [V, D]`, `ids [B]`, `g [B, D]`, `lr`; outputs the new table and, `[B]`, for each row of the batch the sum
/// of the squares of the summed gradient of its number, or something that is not finite if the new row of its number is
/// not.
#[derive(Debug, Clone, PartialEq)]
pub struct SignSgdRows {
    /// Decoupled decay `wd`.
    pub weight_decay: f32,
}

/// Moving average `a = rate a + (1 - rate) p`: inputs `a`, `p`; output the new `a`.
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    /// Fraction of the old average that stays.
    pub rate: f32,
}

/// Stores a value in an input: inputs the memory and the value; output the memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Assign;

/// Elements of a weight that share one sum of squares.
pub const STRETCH: usize = 4096;

impl AdamW {
    /// Inputs of one shape, those of [`AdamAtan2`] too.
    pub const TENSORS: [usize; 4] = [Self::WEIGHT, Self::MOMENT1, Self::MOMENT2, Self::GRADIENT];
    /// Inputs that are one number each and the same for all weights, those of [`AdamAtan2`] too.
    pub const SCALARS: [usize; 3] = [Self::LR, Self::STEP_SCALE, Self::ROOT_SCALE];
}

fn wide(p: &mut Primitives, scalar: Tensor, shape: &[usize]) -> Tensor {
    let element = p.reshape(scalar, &[]);
    p.expand_leading(element, shape)
}

/// Returns `p (1 - lr wd)`.
fn decay(p: &mut Primitives, x: Tensor, lr: Tensor, weight_decay: f32) -> Tensor {
    let shape = p.shape(x);
    let shrink = p.scale(lr, weight_decay);
    let keep = p.complement(shrink);
    let keep = wide(p, keep, &shape);
    p.mul(x, keep)
}

/// Returns `rate a + (1 - rate) b`.
fn mix(p: &mut Primitives, a: Tensor, b: Tensor, rate: f32) -> Tensor {
    let a = p.scale(a, rate);
    let b = p.scale(b, 1.0 - rate);
    p.add(a, b)
}

/// Returns the new moments and `sqrt(v) root_scale`.
fn moments(p: &mut Primitives, inputs: &[Tensor], beta1: f32, beta2: f32) -> [Tensor; 3] {
    let gradient = inputs[AdamW::GRADIENT];
    let m = mix(p, inputs[AdamW::MOMENT1], gradient, beta1);
    let square = p.mul(gradient, gradient);
    let v = mix(p, inputs[AdamW::MOMENT2], square, beta2);
    let root = p.sqrt(v);
    let shape = p.shape(root);
    let scale = wide(p, inputs[AdamW::ROOT_SCALE], &shape);
    [m, v, p.mul(root, scale)]
}

/// Returns `atan2(y, x)` for `x >= 0`, with `atan2(0, 0) = 0`.
///
/// After scaling both by the larger, `atan(y / x) = 2 atan(y / (x + sqrt(x² + y²)))` brings the argument into
/// -1 .. 1; halving twice more brings it below 0.2, where ten terms of the series are exact in f32.
fn atan2(p: &mut Primitives, y: Tensor, x: Tensor) -> Tensor {
    let shape = p.shape(y);
    let zero = p.constant(0.0, &shape);
    let size = p.abs(y);
    let larger = p.maximum(size, x);
    let none = p.equal(larger, zero);
    let divisor = p.add(larger, none);
    let y = p.div(y, divisor);
    let x = p.div(x, divisor);
    let [yy, xx] = [y, x].map(|value| p.mul(value, value));
    let square = p.add(yy, xx);
    let root = p.sqrt(square);
    let denominator = p.add(x, root);
    let denominator = p.add(denominator, none);
    let mut t = p.div(y, denominator);
    for _ in 0..2 {
        let square = p.mul(t, t);
        let sum = p.offset(square, 1.0);
        let root = p.sqrt(sum);
        let denominator = p.offset(root, 1.0);
        t = p.div(t, denominator);
    }
    let square = p.mul(t, t);
    let mut series = p.constant(1.0 / 21.0, &shape);
    for odd in (1..21).step_by(2).rev() {
        let sign = if (odd / 2) % 2 == 0 { 1.0 } else { -1.0 };
        let higher = p.mul(series, square);
        series = p.offset(higher, sign / odd as f32);
    }
    let angle = p.mul(series, t);
    p.scale(angle, 8.0)
}

fn adam_types(inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
    let weight = &inputs[AdamW::WEIGHT];
    for tensor in AdamW::TENSORS {
        require_equal(weight, &inputs[tensor])?;
    }
    for scalar in AdamW::SCALARS.map(|input| &inputs[input]) {
        require(scalar.elements() == 1, || format!("needs one element, found {scalar}"))?;
    }
    let stretches = TensorType::f32(&[weight.elements().div_ceil(STRETCH)]);
    Ok(vec![weight.clone(), weight.clone(), weight.clone(), stretches])
}

/// Returns 1 where one of two values of equal shape is not finite, else 0.
fn not_finite(p: &mut Primitives, a: Tensor, b: Tensor) -> Tensor {
    let shape = p.shape(a);
    let most = p.constant(f32::MAX, &shape);
    let [a, b] = [a, b].map(|x| {
        // Half of the largest number is below it; nothing compares with a NaN.
        let half = p.scale(x, 0.5);
        let size = p.abs(half);
        p.less_than(size, most)
    });
    let finite = p.mul(a, b);
    p.complement(finite)
}

/// Returns a matrix with a row for each stretch of `x`, the last one padded with zeros.
fn stretches(p: &mut Primitives, x: Tensor) -> Tensor {
    let elements = p.shape(x).iter().product::<usize>();
    let stretches = elements.div_ceil(STRETCH);
    let x = p.reshape(x, &[elements]);
    let size = if stretches == 1 { elements } else { STRETCH };
    let padded = p.pad(x, 0, 0, stretches * size - elements);
    p.reshape(padded, &[stretches, size])
}

/// Returns `sum` where `spoiled` is 0, and something that is not finite where it is 1.
fn spoil(p: &mut Primitives, sum: Tensor, spoiled: Tensor) -> Tensor {
    let largest = p.scale(spoiled, f32::MAX);
    let infinite = p.scale(largest, 2.0);
    p.add(sum, infinite)
}

/// Returns the outputs of an update by `direction`, with the new moments `m` and `v`.
fn finish(
    p: &mut Primitives,
    inputs: &[Tensor],
    [m, v, direction]: [Tensor; 3],
    weight_decay: f32,
) -> Vec<Tensor> {
    let decayed = decay(p, inputs[AdamW::WEIGHT], inputs[AdamW::LR], weight_decay);
    let shape = p.shape(direction);
    let scale = wide(p, inputs[AdamW::STEP_SCALE], &shape);
    let step = p.mul(direction, scale);
    let weight = p.sub(decayed, step);
    let spoiled = not_finite(p, weight, v);
    let spoiled = stretches(p, spoiled);
    let spoiled = p.max(spoiled, 1);
    let gradient = inputs[AdamW::GRADIENT];
    let squares = p.mul(gradient, gradient);
    let squares = stretches(p, squares);
    let squares = p.sum(squares, 1);
    vec![weight, m, v, spoil(p, squares, spoiled)]
}

operands!(AdamAtan2, AdamW {
    inputs: [WEIGHT: F32, MOMENT1: F32, MOMENT2: F32, GRADIENT: F32, LR: F32, STEP_SCALE: F32, ROOT_SCALE: F32],
    outputs: [NEW_WEIGHT, NEW_MOMENT1, NEW_MOMENT2, SQUARES: F32]
});

impl Operation for AdamAtan2 {
    fn name(&self) -> &'static str {
        "adam_atan2"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("betas", format!("({:?}, {:?})", self.beta1, self.beta2)),
            ("weight_decay", format!("{:?}", self.weight_decay)),
        ]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        adam_types(inputs)
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [m, v, root] = moments(p, inputs, self.beta1, self.beta2);
        let direction = atan2(p, m, root);
        finish(p, inputs, [m, v, direction], self.weight_decay)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[
            (Self::WEIGHT, Self::NEW_WEIGHT),
            (Self::MOMENT1, Self::NEW_MOMENT1),
            (Self::MOMENT2, Self::NEW_MOMENT2),
        ]
    }
}

impl Operation for AdamW {
    fn name(&self) -> &'static str {
        "adam_w"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("betas", format!("({:?}, {:?})", self.beta1, self.beta2)),
            ("weight_decay", format!("{:?}", self.weight_decay)),
            ("eps", format!("{:?}", self.eps)),
        ]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        adam_types(inputs)
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [m, v, root] = moments(p, inputs, self.beta1, self.beta2);
        let denominator = p.offset(root, self.eps);
        let direction = p.div(m, denominator);
        finish(p, inputs, [m, v, direction], self.weight_decay)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[
            (Self::WEIGHT, Self::NEW_WEIGHT),
            (Self::MOMENT1, Self::NEW_MOMENT1),
            (Self::MOMENT2, Self::NEW_MOMENT2),
        ]
    }
}

operands!(SignSgdRows { inputs: [TABLE: F32, IDS, GRADIENT, LR: F32], outputs: [NEW_TABLE, SQUARES: F32] });

impl Operation for SignSgdRows {
    fn name(&self) -> &'static str {
        "sign_sgd_rows"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("weight_decay", format!("{:?}", self.weight_decay))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (table, ids, gradient) = (&inputs[Self::TABLE], &inputs[Self::IDS], &inputs[Self::GRADIENT]);
        require(ids.elements() == gradient.rows() && table.width() == gradient.width(), || {
            format!("needs [V, D], [B] and [B, D], found {table}, {ids} and {gradient}")
        })?;
        Ok(vec![table.clone(), TensorType::f32(&ids.shape)])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (table, ids, gradient, lr) =
            (inputs[Self::TABLE], inputs[Self::IDS], inputs[Self::GRADIENT], inputs[Self::LR]);
        let shape = p.shape(table);
        let by_slot = p.one_hot(ids, shape[0]);
        let hot = p.permute(by_slot, &[1, 0]);
        let hot = p.contiguous(hot);
        let occurrences = p.sum(hot, 1);
        let none = p.constant(0.0, &shape[..1]);
        let occurs = p.less_than(none, occurrences);
        let columns = p.permute(gradient, &[1, 0]);
        let columns = p.contiguous(columns);
        let sum = p.product(hot, columns);
        let zero = p.constant(0.0, &shape);
        let positive = p.less_than(zero, sum);
        let negative = p.less_than(sum, zero);
        let sign = p.sub(positive, negative);
        let wide_lr = wide(p, lr, &shape);
        let step = p.mul(sign, wide_lr);
        let decayed = decay(p, table, lr, self.weight_decay);
        let moved = p.sub(decayed, step);
        let occurs = p.expand(occurs, 1, shape[1]);
        let occurs = p.contiguous(occurs);
        let spoiled = not_finite(p, moved, sum);
        let spoiled = p.max(spoiled, 1);
        let squares = p.mul(sum, sum);
        let squares = p.sum(squares, 1);
        let [spoiled, squares] = [spoiled, squares].map(|of_rows| {
            let of_rows = p.reshape(of_rows, &[1, shape[0]]);
            p.product(by_slot, of_rows)
        });
        let squares = spoil(p, squares, spoiled);
        let slots = p.shape(ids);
        vec![p.select(occurs, moved, table), p.reshape(squares, &slots)]
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(Self::TABLE, Self::NEW_TABLE)]
    }
}

operands!(Average { inputs: [AVERAGE: F32, WEIGHT: F32], outputs: [NEW_AVERAGE] });

impl Operation for Average {
    fn name(&self) -> &'static str {
        "average"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("rate", format!("{:?}", self.rate))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::AVERAGE], &inputs[Self::WEIGHT])?;
        Ok(vec![inputs[Self::AVERAGE].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![mix(p, inputs[Self::AVERAGE], inputs[Self::WEIGHT], self.rate)]
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(Self::AVERAGE, Self::NEW_AVERAGE)]
    }
}

operands!(Assign { inputs: [MEMORY: F32, VALUE], outputs: [NEW_MEMORY] });

impl Operation for Assign {
    fn name(&self) -> &'static str {
        "assign"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::MEMORY], &inputs[Self::VALUE])?;
        Ok(vec![inputs[Self::MEMORY].clone()])
    }

    fn decompose(&self, _p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![inputs[Self::VALUE]]
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(Self::MEMORY, Self::NEW_MEMORY)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Primitives, atan2};

    #[test]
    fn the_series_of_atan2_is_exact_to_f32_in_every_direction_of_its_half_plane() {
        let mut points = vec![
            (0.0, 0.0),
            (1.0, 0.0),
            (-1.0, 0.0),
            (0.0, 1.0),
            (1e-20, 1e-20),
            (-1e-20, 3.0),
            (7.0, 1e-20),
        ];
        for step in 0..200 {
            let angle = (f64::from(step) / 199.0 - 0.5) * std::f64::consts::PI;
            for size in [1e-6, 1.0, 1e6] {
                points.push(((size * angle.sin()) as f32, (size * angle.cos()).max(0.0) as f32));
            }
        }
        let mut p = Primitives::new();
        let y = p.data("y", &[points.len()], points.iter().map(|point| point.0).collect());
        let x = p.data("x", &[points.len()], points.iter().map(|point| point.1).collect());
        let angle = atan2(&mut p, y, x);
        let found = p.run(&[angle]).remove(0);
        for ((y, x), found) in points.into_iter().zip(found) {
            let exact = f64::from(y).atan2(f64::from(x));
            // About ten roundings lead to the angle.
            let tolerance = 10.0 * f64::from(f32::EPSILON) * (exact.abs() + 1e-30);
            assert!(
                (f64::from(found) - exact).abs() <= tolerance,
                "atan2({y:e}, {x:e}) = {found}, not {exact}"
            );
        }
    }
}
