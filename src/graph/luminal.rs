//! Graphs of luminal's primitives.
//!
//! luminal's shape trackers lie about sliced shapes and its unary operators ignore views, so
//! [`Primitives`] copies after every slice, pad and before every unary operator. Its errors are panics;
//! everything here is called with shapes that were checked before.

use std::collections::BTreeMap;

use ::luminal::compilers::BatchMatMul2DCompiler;
use ::luminal::graph::NodeIndex;
use ::luminal::op::{
    Add, Constant, ConstantValue, Contiguous, Exp2, Function, LessThan, Log2, MaxReduce, Mul, Operator,
    Recip, Sqrt, SumReduce,
};
use ::luminal::shape::ShapeTracker;
use ::luminal::shape::symbolic::Expression;
use ::luminal::tensor::Tensor as Data;

/// Returns the elements of a tensor of luminal.
pub(super) fn values(data: &Data) -> &Vec<f32> {
    data.data.as_any().downcast_ref().expect("luminal's tensors hold f32 on the CPU")
}

/// Returns the tracker of a contiguous tensor.
pub fn tracker(shape: &[usize]) -> ShapeTracker {
    let dims: Vec<Expression> = shape.iter().map(|&size| Expression::from(size)).collect();
    ShapeTracker::new(&dims)
}

/// A tensor of the primitive graph: an output of a luminal node, seen through a view.
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// Its node in luminal's graph.
    pub node: NodeIndex,
    view: ShapeTracker,
    contiguous: bool,
}

/// Builds a graph of luminal primitives.
///
/// All tensors are f32; integers are exact below 2^24. Binary methods need equal shapes: broadcast with
/// [`Primitives::expand`] first.
pub struct Primitives {
    /// The graph.
    pub graph: Box<::luminal::graph::Graph>,
    /// The nodes of its inputs, by name.
    pub inputs: BTreeMap<String, NodeIndex>,
}

impl Default for Primitives {
    fn default() -> Self {
        Primitives::new()
    }
}

impl Primitives {
    /// Returns an empty builder.
    pub fn new() -> Self {
        Primitives { graph: Box::new(::luminal::graph::Graph::new()), inputs: BTreeMap::new() }
    }

    fn whole(&self, node: NodeIndex, shape: &[usize]) -> Tensor {
        Tensor { node, view: tracker(shape), contiguous: true }
    }

    /// Returns the shape of a tensor.
    pub fn shape(&self, tensor: Tensor) -> Vec<usize> {
        tensor
            .view
            .indexes
            .iter()
            .map(|&axis| tensor.view.dims[axis].to_usize().expect("sizes are constant"))
            .collect()
    }

    /// Adds a named input whose values are set before each run.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let node = self
            .graph
            .add_op(Function(
                format!("input {name}"),
                Box::new(|_| unreachable!("inputs are set before a run")),
            ))
            .finish();
        self.inputs.insert(name.to_string(), node);
        self.whole(node, shape)
    }

    /// Adds a tensor with fixed values.
    pub fn data(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "values fill the shape");
        let node = self
            .graph
            .add_op(Function(name.to_string(), Box::new(move |_| vec![Data::new(values.clone())])))
            .finish();
        self.whole(node, shape)
    }

    /// Adds `0, 1, 2, …` of the given length.
    pub fn count(&mut self, length: usize) -> Tensor {
        self.data("count", &[length], (0..length).map(|index| index as f32).collect())
    }

    /// Adds a constant seen as a tensor of the given shape.
    pub fn constant(&mut self, value: f32, shape: &[usize]) -> Tensor {
        let node = self.graph.add_op(Constant(ConstantValue::Float(value), &self.graph.dyn_map)).finish();
        let dims: Vec<Expression> = shape.iter().map(|&size| Expression::from(size)).collect();
        Tensor { node, view: ShapeTracker::fake(&dims), contiguous: false }
    }

    fn apply(&mut self, op: impl Operator + 'static, inputs: &[Tensor], shape: &[usize]) -> Tensor {
        let mut new = self.graph.add_op(op);
        for input in inputs {
            new = new.input(input.node, 0, input.view);
        }
        let node = new.finish();
        self.whole(node, shape)
    }

    /// Returns the same values laid out contiguously.
    pub fn contiguous(&mut self, x: Tensor) -> Tensor {
        if x.contiguous {
            return x;
        }
        let shape = self.shape(x);
        self.apply(Contiguous, &[x], &shape)
    }

    /// Makes a tensor the whole result of an operator, and not an input or a view.
    pub fn materialize(&mut self, x: &mut Tensor) {
        *x = self.contiguous(*x);
        let operator = self.graph.graph.node_weight(x.node).expect("the tensor's operator is there");
        if operator.as_any().is::<Function>() {
            let shape = self.shape(*x);
            *x = self.apply(Contiguous, &[*x], &shape);
        }
    }

    fn unary(&mut self, op: impl Operator + 'static, x: Tensor) -> Tensor {
        let x = self.contiguous(x);
        let shape = self.shape(x);
        self.apply(op, &[x], &shape)
    }

    fn binary(&mut self, op: impl Operator + 'static, a: Tensor, b: Tensor) -> Tensor {
        let shape = self.shape(a);
        assert_eq!(shape, self.shape(b), "shapes agree");
        self.apply(op, &[a, b], &shape)
    }

    /// Returns `a + b`.
    pub fn add(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.binary(Add, a, b)
    }

    /// Returns `a * b`.
    pub fn mul(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.binary(Mul, a, b)
    }

    /// Returns 1 where `a < b`, else 0.
    pub fn less_than(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.binary(LessThan, a, b)
    }

    /// Returns `1 / x`.
    pub fn recip(&mut self, x: Tensor) -> Tensor {
        self.unary(Recip, x)
    }

    /// Returns the square root.
    pub fn sqrt(&mut self, x: Tensor) -> Tensor {
        self.unary(Sqrt, x)
    }

    /// Returns `x * factor`.
    pub fn scale(&mut self, x: Tensor, factor: f32) -> Tensor {
        let shape = self.shape(x);
        let factor = self.constant(factor, &shape);
        self.mul(x, factor)
    }

    /// Returns `x + summand`.
    pub fn offset(&mut self, x: Tensor, summand: f32) -> Tensor {
        let shape = self.shape(x);
        let summand = self.constant(summand, &shape);
        self.add(x, summand)
    }

    /// Returns `a - b`.
    pub fn sub(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let negative = self.scale(b, -1.0);
        self.add(a, negative)
    }

    /// Returns `a / b`.
    pub fn div(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let inverse = self.recip(b);
        self.mul(a, inverse)
    }

    /// Returns `1 - x`.
    pub fn complement(&mut self, x: Tensor) -> Tensor {
        let negative = self.scale(x, -1.0);
        self.offset(negative, 1.0)
    }

    /// Returns 1 where `a == b`, else 0.
    pub fn equal(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let below = self.less_than(a, b);
        let above = self.less_than(b, a);
        let either = self.add(below, above);
        self.complement(either)
    }

    /// Returns 1 where `x < 0`, else 0.
    pub fn negative(&mut self, x: Tensor) -> Tensor {
        let shape = self.shape(x);
        let zero = self.constant(0.0, &shape);
        self.less_than(x, zero)
    }

    /// Returns `a` where `mask` is 1 and `b` where it is 0.
    pub fn select(&mut self, mask: Tensor, a: Tensor, b: Tensor) -> Tensor {
        let other = self.complement(mask);
        let a = self.mul(mask, a);
        let b = self.mul(other, b);
        self.add(a, b)
    }

    /// Returns the larger of both.
    pub fn maximum(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let below = self.less_than(a, b);
        self.select(below, b, a)
    }

    /// Returns the absolute value.
    pub fn abs(&mut self, x: Tensor) -> Tensor {
        let negative = self.scale(x, -1.0);
        self.maximum(x, negative)
    }

    /// Returns `e^x`.
    pub fn exp(&mut self, x: Tensor) -> Tensor {
        let scaled = self.scale(x, std::f32::consts::LOG2_E);
        self.unary(Exp2, scaled)
    }

    /// Returns the natural logarithm.
    pub fn log(&mut self, x: Tensor) -> Tensor {
        let binary = self.unary(Log2, x);
        self.scale(binary, std::f32::consts::LN_2)
    }

    /// Returns `1 / (1 + e^-x)`.
    pub fn sigmoid(&mut self, x: Tensor) -> Tensor {
        let negative = self.scale(x, -1.0);
        let power = self.exp(negative);
        let sum = self.offset(power, 1.0);
        self.recip(sum)
    }

    /// Returns the sum over an axis, which disappears.
    pub fn sum(&mut self, x: Tensor, axis: usize) -> Tensor {
        let mut shape = self.shape(x);
        shape.remove(axis);
        self.apply(SumReduce(axis), &[x], &shape)
    }

    /// Returns the maximum over an axis, which disappears.
    pub fn max(&mut self, x: Tensor, axis: usize) -> Tensor {
        let mut shape = self.shape(x);
        shape.remove(axis);
        self.apply(MaxReduce(axis), &[x], &shape)
    }

    /// Returns a view with a new axis along which the values repeat.
    pub fn expand(&mut self, x: Tensor, axis: usize, size: usize) -> Tensor {
        let mut view = x.view;
        view.expand(axis, Expression::from(size));
        Tensor { node: x.node, view, contiguous: false }
    }

    /// Returns a view with new leading axes along which the values repeat.
    pub fn expand_leading(&mut self, mut x: Tensor, sizes: &[usize]) -> Tensor {
        for &size in sizes.iter().rev() {
            x = self.expand(x, 0, size);
        }
        x
    }

    /// Returns a view with new trailing axes along which the values repeat.
    pub fn expand_trailing(&mut self, mut x: Tensor, sizes: &[usize]) -> Tensor {
        for &size in sizes {
            let axis = x.view.indexes.len();
            x = self.expand(x, axis, size);
        }
        x
    }

    /// Returns a view with reordered axes.
    pub fn permute(&mut self, x: Tensor, axes: &[usize]) -> Tensor {
        let mut view = x.view;
        view.permute(axes);
        Tensor { node: x.node, view, contiguous: false }
    }

    /// Returns the same values under another shape.
    pub fn reshape(&mut self, x: Tensor, shape: &[usize]) -> Tensor {
        let x = self.contiguous(x);
        self.whole(x.node, shape)
    }

    /// Returns the part `start..end` of an axis.
    pub fn slice(&mut self, x: Tensor, axis: usize, start: usize, end: usize) -> Tensor {
        let x = self.contiguous(x);
        let mut shape = self.shape(x);
        let bounds: Vec<(Expression, Expression)> = shape
            .iter()
            .enumerate()
            .map(
                |(index, &size)| {
                    if index == axis { (start.into(), end.into()) } else { (0.into(), size.into()) }
                },
            )
            .collect();
        let mut view = x.view;
        view.slice(&bounds);
        shape[axis] = end - start;
        self.apply(Contiguous, &[Tensor { node: x.node, view, contiguous: false }], &shape)
    }

    /// Returns the tensor with zeros before and after it on an axis.
    pub fn pad(&mut self, x: Tensor, axis: usize, before: usize, after: usize) -> Tensor {
        let x = self.contiguous(x);
        let mut shape = self.shape(x);
        let bounds: Vec<(Expression, Expression)> = (0..shape.len())
            .map(|index| if index == axis { (before.into(), after.into()) } else { (0.into(), 0.into()) })
            .collect();
        let mut view = x.view;
        view.pad(&bounds);
        shape[axis] += before + after;
        self.apply(Contiguous, &[Tensor { node: x.node, view, contiguous: false }], &shape)
    }

    /// Returns `sum_k a[.., m, k] b[.., n, k]` over any equal leading axes.
    pub fn product(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let (left, right) = (self.shape(a), self.shape(b));
        let last = left.len() - 1;
        let (rows, columns, inner) = (left[last - 1], right[last - 1], left[last]);
        let batch: usize = left[..last - 1].iter().product();
        let mut shape = left[..last].to_vec();
        shape.push(columns);
        let product = if left.len() == 2 {
            self.matrix_product(a, b)
        } else if batch > rows.max(columns) {
            let a = self.expand(a, last, columns);
            let b = self.expand(b, last - 1, rows);
            let terms = self.mul(a, b);
            self.sum(terms, last + 1)
        } else {
            let a = self.reshape(a, &[batch, rows, inner]);
            let b = self.reshape(b, &[batch, columns, inner]);
            self.batch_product(a, b)
        };
        self.reshape(product, &shape)
    }

    /// Returns `a bᵀ` of two matrices, `[M, K]` and `[N, K]`.
    ///
    /// luminal's compiler recognises one form of product, a batch of matrices times one matrix; this is a
    /// batch of one.
    fn matrix_product(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let (rows, inner, columns) = (self.shape(a)[0], self.shape(a)[1], self.shape(b)[0]);
        let a = self.reshape(a, &[1, rows, inner]);
        let a = self.expand(a, 2, columns);
        let b = self.expand_leading(b, &[1, rows]);
        let terms = self.mul(a, b);
        let sums = self.sum(terms, 3);
        self.reshape(sums, &[rows, columns])
    }

    /// Returns `a bᵀ` of each pair of matrices, `[G, M, K]` and `[G, N, K]`, as one product of two matrices.
    ///
    /// The pairs with fewer rows are laid out on the diagonal of a large matrix, so that each row meets only
    /// the matrix it belongs to; all other terms are products with zero.
    fn batch_product(&mut self, a: Tensor, b: Tensor) -> Tensor {
        let (left, right) = (self.shape(a), self.shape(b));
        let (batch, rows, columns, inner) = (left[0], left[1], right[1], left[2]);
        if rows > columns {
            let turned = self.batch_product(b, a);
            let product = self.permute(turned, &[0, 2, 1]);
            return self.contiguous(product);
        }
        let wide = self.expand(a, 2, batch);
        let one = (0..batch * batch).map(|index| if index % (batch + 1) == 0 { 1.0 } else { 0.0 });
        let diagonal = self.data("diagonal", &[batch, batch], one.collect());
        let mask = self.expand(diagonal, 1, rows);
        let mask = self.expand(mask, 3, inner);
        let spread = self.mul(wide, mask);
        let spread = self.reshape(spread, &[batch * rows, batch * inner]);
        let beside = self.permute(b, &[1, 0, 2]);
        let beside = self.reshape(beside, &[columns, batch * inner]);
        let product = self.matrix_product(spread, beside);
        self.reshape(product, &[batch, rows, columns])
    }

    /// Returns a one-hot vector of length `size` for each of `ids` `[R]`, as `[R, size]`.
    pub fn one_hot(&mut self, ids: Tensor, size: usize) -> Tensor {
        let rows = self.shape(ids)[0];
        let classes = self.count(size);
        let classes = self.expand(classes, 0, rows);
        let ids = self.expand(ids, 1, size);
        self.equal(ids, classes)
    }

    /// Runs the graph once and returns the values of `outputs`, contiguous.
    pub fn run(mut self, outputs: &[Tensor]) -> Vec<Vec<f32>> {
        let mut outputs = outputs.to_vec();
        self.keep(outputs.iter_mut());
        self.graph.execute();
        outputs.iter().map(|output| self.fetch(*output)).collect()
    }

    /// Makes `outputs` contiguous and readable after a run, and has luminal find its products.
    pub(super) fn keep<'a>(&mut self, outputs: impl Iterator<Item = &'a mut Tensor>) {
        let mut nodes: Vec<&mut NodeIndex> = Vec::new();
        for output in outputs {
            *output = self.contiguous(*output);
            self.graph.no_delete.insert(output.node);
            nodes.push(&mut output.node);
        }
        self.graph.compile(BatchMatMul2DCompiler, nodes);
    }

    /// Returns the values of a tensor that was kept.
    pub(super) fn fetch(&self, output: Tensor) -> Vec<f32> {
        values(self.graph.get_tensor_ref(output.node, 0).expect("kept tensors stay after a run")).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchMatMul2DCompiler, Primitives, Tensor};
    use crate::graph::decomposed::Decomposed;
    use crate::graph::ops::{Add, Scale, SwiGlu};
    use crate::graph::{Graph, TensorType};

    /// Runs what `build` makes of `0, 1, 2, …` under `shape`.
    fn run(shape: &[usize], build: impl FnOnce(&mut Primitives, Tensor) -> Tensor) -> Vec<f32> {
        let count = shape.iter().product();
        let mut p = Primitives::new();
        let x = p.data("x", shape, (0..count).map(|index| index as f32).collect());
        let y = build(&mut p, x);
        p.run(&[y]).remove(0)
    }

    fn data(p: &mut Primitives, shape: &[usize], first: usize) -> (Tensor, Vec<f32>) {
        let count: usize = shape.iter().product();
        // Small integers: every product and sum below is exact.
        let values: Vec<f32> = (0..count).map(|index| ((index * 7 + first) % 11) as f32 - 5.0).collect();
        (p.data("operand", shape, values.clone()), values)
    }

    #[test]
    fn a_slice_of_an_inner_axis_has_the_elements_and_the_shape_of_the_part() {
        let mut shape = Vec::new();
        let found = run(&[2, 4, 3], |p, x| {
            let part = p.slice(x, 1, 1, 3);
            shape = p.shape(part);
            part
        });
        assert_eq!(shape, [2, 2, 3]);
        assert_eq!(found, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0]);
    }

    #[test]
    fn slices_of_slices_and_pads_of_slices_compose() {
        let found = run(&[6], |p, x| {
            let part = p.slice(x, 0, 1, 5);
            let part = p.slice(part, 0, 1, 3);
            p.pad(part, 0, 1, 2)
        });
        assert_eq!(found, [0.0, 2.0, 3.0, 0.0, 0.0]);
    }

    #[test]
    fn a_pad_of_an_inner_axis_puts_zeros_around_each_row() {
        let found = run(&[2, 2], |p, x| p.pad(x, 1, 1, 1));
        assert_eq!(found, [0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
    }

    #[test]
    fn unary_operators_see_the_order_of_a_view() {
        let found = run(&[2, 2], |p, x| {
            let turned = p.permute(x, &[1, 0]);
            let shifted = p.offset(turned, 1.0);
            let turned = p.permute(shifted, &[1, 0]);
            p.recip(turned)
        });
        assert_eq!(found, [1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0]);
        let found = run(&[2, 2], |p, x| {
            let turned = p.permute(x, &[1, 0]);
            p.sqrt(turned)
        });
        assert_eq!(found, [0.0, 2.0_f32.sqrt(), 1.0, 3.0_f32.sqrt()]);
    }

    #[test]
    fn unary_operators_see_every_element_of_an_expansion() {
        let found = run(&[2], |p, x| {
            let wide = p.expand(x, 1, 3);
            p.sqrt(wide)
        });
        assert_eq!(found, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn sums_and_maxima_over_any_axis_of_a_view_equal_loops() {
        for axis in 0..3 {
            let sum = run(&[2, 3, 4], |p, x| p.sum(x, axis));
            let max = run(&[2, 3, 4], |p, x| p.max(x, axis));
            let mut shape = vec![2, 3, 4];
            let size = shape.remove(axis);
            let inner: usize = [12, 4, 1][axis];
            let mut expected_sum: Vec<f32> = Vec::new();
            let mut expected_max: Vec<f32> = Vec::new();
            for outer in (0..24).step_by(inner * size) {
                for at in outer..outer + inner {
                    let terms = (0..size).map(|index| (at + index * inner) as f32);
                    expected_sum.push(terms.clone().sum());
                    expected_max.push(terms.fold(f32::NEG_INFINITY, f32::max));
                }
            }
            assert_eq!(sum, expected_sum, "axis {axis}");
            assert_eq!(max, expected_max, "axis {axis}");
        }
    }

    #[test]
    fn the_sum_of_an_expansion_multiplies() {
        let found = run(&[3], |p, x| {
            let wide = p.expand(x, 0, 4);
            p.sum(wide, 0)
        });
        assert_eq!(found, [0.0, 4.0, 8.0]);
    }

    #[test]
    fn a_maximum_over_negative_elements_is_negative() {
        let found = run(&[1, 3], |p, x| {
            let below = p.offset(x, -10.0);
            p.max(below, 1)
        });
        assert_eq!(found, [-8.0]);
    }

    #[test]
    fn one_hot_has_its_one_at_the_number_and_nowhere_for_negative_numbers() {
        let mut p = Primitives::new();
        let ids = p.data("ids", &[3], vec![2.0, -100.0, 0.0]);
        let hot = p.one_hot(ids, 3);
        assert_eq!(p.run(&[hot])[0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn select_and_equal_are_exact() {
        let mut p = Primitives::new();
        let mask = p.data("mask", &[2], vec![1.0, 0.0]);
        let a = p.data("a", &[2], vec![0.1, 0.2]);
        let b = p.data("b", &[2], vec![0.3, 0.2]);
        let chosen = p.select(mask, a, b);
        let same = p.equal(a, b);
        assert_eq!(p.run(&[chosen, same]), [vec![0.1, 0.2], vec![0.0, 1.0]]);
    }

    #[test]
    fn constants_near_minus_one_keep_their_value() {
        let found = run(&[2], |p, x| p.scale(x, -1.000_05));
        assert_eq!(found, [0.0, -1.000_05]);
    }

    /// `sum_k a[m, k] b[n, k]` of each pair of matrices.
    fn product(a: &[f32], b: &[f32], batch: usize, rows: usize, columns: usize, inner: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for pair in 0..batch {
            for row in 0..rows {
                for column in 0..columns {
                    let a = &a[(pair * rows + row) * inner..][..inner];
                    let b = &b[(pair * columns + column) * inner..][..inner];
                    out.push(a.iter().zip(b).map(|(a, b)| a * b).sum());
                }
            }
        }
        out
    }

    #[test]
    fn products_of_any_rank_equal_loops() {
        // Few rows and many, so that either side is the one laid on the diagonal, and batches too large for it.
        for (leading, rows, columns, inner) in [
            (vec![], 2, 3, 4),
            (vec![], 1, 1, 1),
            (vec![3], 4, 2, 5),
            (vec![3], 2, 4, 1),
            (vec![2, 2], 5, 4, 3),
            (vec![2, 2], 3, 5, 2),
            (vec![7], 2, 3, 2),
            (vec![3, 4], 2, 3, 2),
        ] {
            let mut p = Primitives::new();
            let batch: usize = leading.iter().product();
            let shape = |rows: usize| [&leading[..], &[rows, inner]].concat();
            let (a, a_values) = data(&mut p, &shape(rows), 1);
            let (b, b_values) = data(&mut p, &shape(columns), 2);
            let y = p.product(a, b);
            assert_eq!(p.shape(y), [&leading[..], &[rows, columns]].concat());
            let expected = product(&a_values, &b_values, batch, rows, columns, inner);
            assert_eq!(p.run(&[y])[0], expected, "{leading:?} {rows} {columns} {inner}");
        }
    }

    #[test]
    fn products_of_permuted_matrices_equal_loops() {
        let mut p = Primitives::new();
        let (a, a_values) = data(&mut p, &[3, 2], 1);
        let (b, b_values) = data(&mut p, &[3, 4], 2);
        let turn = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            (0..columns)
                .flat_map(|j| (0..rows).map(move |i| (i, j)))
                .map(|(i, j)| values[i * columns + j])
                .collect()
        };
        let [a, b] = [a, b].map(|x| p.permute(x, &[1, 0]));
        let y = p.product(a, b);
        let expected = product(&turn(&a_values, 3, 2), &turn(&b_values, 3, 4), 1, 2, 4, 3);
        assert_eq!(p.run(&[y])[0], expected);
    }

    #[test]
    fn luminal_finds_the_product_of_two_matrices() {
        let mut p = Primitives::new();
        let (a, _) = data(&mut p, &[2, 3], 1);
        let (b, _) = data(&mut p, &[4, 3], 2);
        let y = p.product(a, b);
        let before = p.graph.graph.node_count();
        let mut node = y.node;
        p.graph.compile(BatchMatMul2DCompiler, &mut node);
        assert_ne!(node, y.node, "the sum is replaced");
        assert_eq!(p.graph.graph.node_count(), before - 1, "product and sum become one node");
    }

    #[test]
    fn a_product_that_is_read_twice_keeps_both_readers() {
        let mut p = Primitives::new();
        let (a, a_values) = data(&mut p, &[2, 3], 1);
        let (b, b_values) = data(&mut p, &[2, 3], 2);
        let y = p.product(a, b);
        let doubled = p.scale(y, 2.0);
        let shifted = p.offset(y, 1.0);
        let expected = product(&a_values, &b_values, 1, 2, 2, 3);
        let found = p.run(&[y, doubled, shifted]);
        assert_eq!(found[0], expected);
        assert_eq!(found[1], expected.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        assert_eq!(found[2], expected.iter().map(|x| x + 1.0).collect::<Vec<_>>());
    }

    #[test]
    fn logarithm_and_powers_agree_with_the_library() {
        let values = [-6.0_f32, -1.0, -0.1, 0.0, 0.1, 1.0, 6.0];
        let mut p = Primitives::new();
        let x = p.data("x", &[7], values.to_vec());
        let power = p.exp(x);
        let log = p.log(power);
        let logistic = p.sigmoid(x);
        let size = p.abs(x);
        let found = p.run(&[power, log, logistic, size]);
        for (at, &x) in values.iter().enumerate() {
            // Scaling by log2(e) rounds the exponent: a few units in the last place of its size.
            let tolerance = 8.0 * f32::EPSILON * (1.0 + x.abs());
            assert!((found[0][at] - x.exp()).abs() <= tolerance * x.exp(), "e^{x}");
            assert!((found[1][at] - x).abs() <= tolerance, "log e^{x}");
            assert!((found[2][at] - 1.0 / (1.0 + (-x).exp())).abs() <= tolerance, "sigmoid {x}");
            assert_eq!(found[3][at], x.abs());
        }
    }

    #[test]
    fn our_operators_run_inside_luminal() {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[2, 4]));
        let gate = graph.add1(SwiGlu.into(), &[x]);
        let twice = graph.add1(Add.into(), &[gate, gate]);
        let values = vec![0.5, -1.0, 2.0, 3.0, 1.0, 0.0, -1.0, 4.0];
        let luminal = &mut graph.inner;
        luminal.set_tensor(x.node.0, 0, super::Data::new(values.clone()));
        luminal.no_delete.insert(twice.node.0);
        luminal.execute();
        let found = super::values(luminal.get_tensor_ref(twice.node.0, 0).expect("it is kept")).clone();
        let silu = |x: f32| x / (1.0 + (-x).exp());
        for row in 0..2 {
            for column in 0..2 {
                let expected = 2.0 * silu(values[4 * row + column]) * values[4 * row + 2 + column];
                let difference = (found[2 * row + column] - expected).abs();
                // A few roundings of numbers below 16.
                assert!(difference < 1e-5, "row {row}, column {column} differs by {difference}");
            }
        }
    }

    #[test]
    fn a_decomposed_graph_runs_again_with_other_inputs() {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[2]));
        let y = graph.add1(Scale { factor: 3.0 }.into(), &[x]);
        graph.set_output("y", y);
        let mut decomposed = Decomposed::new(&graph);
        for input in [[1.0, 2.0], [-4.0, 0.5]] {
            let found = decomposed.run(|_| input.to_vec());
            assert_eq!(found, [("y".to_string(), input.map(|x| 3.0 * x).to_vec())]);
        }
    }
}
