//! What luminal_cuda's compiler gets wrong, and how graphs are changed so that it never comes to it.
//!
//! The compiler replaces groups of primitives that it recognises by one kernel. It looks at less than it would have to:
//!
//! * *Constants.* A number within `1e-4` of -1 counts as -1, and one that near to 1 as 1, in the patterns of a
//!   subtraction, of an equality and of a counting tensor. The value is lost.
//! * *Shared negations.* `a + (-1) b` becomes a subtraction, and the negation is deleted even if others read it.
//! * *Shared products.* A multiplication and the sum that reads it become a product of matrices, and the multiplication
//!   is deleted even if others read it; the view through which the sum reads it is ignored.
//! * *Views of factors.* cuBLAS is given a pointer and the order of the last two axes. A factor that is padded or
//!   sliced is read as if it were not, out of bounds if it is padded; a batch whose axes are permuted is read in the
//!   wrong order.
//!
//! [`avoid`] rewrites exactly the places that would be recognised and taken wrongly; all others stay as they are, so
//! that the kernels of luminal_cuda are used wherever they are right.

use hrmc::internals::graph::luminal::tracker;
use luminal::graph::{Dependency, Graph, NodeIndex};
use luminal::op::{Add, Constant, ConstantValue, Contiguous, Function, Mul, SumReduce};
use luminal::prelude::petgraph::Direction;
use luminal::prelude::petgraph::stable_graph::EdgeIndex;
use luminal::prelude::petgraph::visit::EdgeRef;
use luminal::shape::ShapeTracker;
use luminal::tensor::Tensor as Data;

/// How near to 1 or -1 a number is taken for it: more than luminal_cuda's tolerance, for safety.
const NEAR: f32 = 2e-4;

/// Changes a graph of primitives into one that means the same and that luminal_cuda compiles to what it means.
///
/// It has to be called before luminal_cuda's compiler, and after tensors that are kept are marked.
pub fn avoid(graph: &mut Graph) {
    let nodes: Vec<NodeIndex> = graph.graph.node_indices().collect();
    for &node in &nodes {
        hide_constant(graph, node);
    }
    for &node in &nodes {
        separate_product(graph, node);
    }
}

/// An edge that carries a tensor.
struct Read {
    edge: EdgeIndex,
    source: NodeIndex,
    target: NodeIndex,
    view: ShapeTracker,
    order: u8,
}

fn reads(graph: &Graph, node: NodeIndex, direction: Direction) -> Vec<Read> {
    let mut reads: Vec<Read> = graph
        .graph
        .edges_directed(node, direction)
        .filter_map(|edge| {
            let (order, _, view) = edge.weight().as_data()?;
            Some(Read { edge: edge.id(), source: edge.source(), target: edge.target(), view, order })
        })
        .collect();
    reads.sort_by_key(|read| read.order);
    reads
}

/// Makes an edge read another node, through another view.
fn redirect(graph: &mut Graph, read: &Read, source: NodeIndex, view: ShapeTracker) {
    graph.graph.remove_edge(read.edge);
    let dependency = Dependency::Data { input_order: read.order, output_order: 0, shape: view };
    graph.graph.add_edge(source, read.target, dependency);
}

/// Adds a contiguous copy of what a view shows, and returns it with its tracker.
fn copy(graph: &mut Graph, source: NodeIndex, view: ShapeTracker) -> (NodeIndex, ShapeTracker) {
    let shape: Vec<usize> =
        view.shape().iter().map(|size| size.to_usize().expect("sizes are constant")).collect();
    (graph.add_op(Contiguous).input(source, 0, view).finish(), tracker(&shape))
}

fn is<T: 'static>(graph: &Graph, node: NodeIndex) -> bool {
    graph.graph.node_weight(node).is_some_and(|operator| operator.as_any().is::<T>())
}

fn constant(graph: &Graph, node: NodeIndex) -> Option<f32> {
    let constant = graph.graph.node_weight(node)?.as_any().downcast_ref::<Constant>()?;
    match constant.0 {
        ConstantValue::Float(value) => Some(value),
        ConstantValue::Expression(_) => None,
    }
}

/// Makes a constant near 1 or -1 a tensor of one element, which no pattern mentions, unless it is the factor of
/// subtractions only.
fn hide_constant(graph: &mut Graph, node: NodeIndex) {
    let Some(value) = constant(graph, node) else { return };
    if (value.abs() - 1.0).abs() > NEAR || (value == -1.0 && makes_subtractions(graph, node)) {
        return;
    }
    let operator = graph.graph.node_weight_mut(node).expect("the constant is there");
    *operator = Box::new(Function("constant".into(), Box::new(move |_| vec![Data::new(vec![value])])));
}

/// Returns whether everything that reads this -1 is a multiplication with something else that one addition alone reads.
fn makes_subtractions(graph: &Graph, node: NodeIndex) -> bool {
    reads(graph, node, Direction::Outgoing).iter().all(|read| {
        let factors = reads(graph, read.target, Direction::Incoming);
        let readers = reads(graph, read.target, Direction::Outgoing);
        is::<Mul>(graph, read.target)
            && factors.iter().filter(|factor| constant(graph, factor.source) == Some(-1.0)).count() == 1
            && matches!(&readers[..], [reader] if is::<Add>(graph, reader.target))
    })
}

/// Changes the sum of a multiplication that luminal_cuda would take for a product of matrices, where the product
/// would be a wrong one.
fn separate_product(graph: &mut Graph, sum: NodeIndex) {
    let Some(axis) = summed_axis(graph, sum) else { return };
    let operand = reads(graph, sum, Direction::Incoming).remove(0);
    let multiplication = operand.source;
    if !is::<Mul>(graph, multiplication) {
        return;
    }
    let factors = reads(graph, multiplication, Direction::Incoming);
    if !is_product(&factors, axis) {
        return;
    }
    let shared = reads(graph, multiplication, Direction::Outgoing).len() > 1
        || graph.no_delete.contains(&multiplication);
    if shared || !operand.view.is_contiguous() || is_cut(&operand.view) {
        let (node, view) = copy(graph, multiplication, operand.view);
        redirect(graph, &operand, node, view);
        return;
    }
    // What is left of a factor without the axes along which it repeats: a matrix, or a batch of matrices.
    for (factor, repeated) in factors.iter().zip([axis - 1..axis, 0..axis - 1]) {
        let mut matrices = factor.view;
        for _ in repeated.clone() {
            matrices.remove_dim(repeated.start);
        }
        let batch_in_order = matrices.len() == 2 || matrices.is_contiguous();
        if is_cut(&matrices) || !batch_in_order {
            let (node, mut view) = copy(graph, factor.source, matrices);
            for axis in repeated {
                let size = factor.view.dims[factor.view.indexes[axis]];
                view.expand(axis, size);
            }
            redirect(graph, factor, node, view);
        }
    }
}

/// Returns whether a multiplication becomes part of a product of matrices, so that its result is never stored. The
/// graph was changed by [`avoid`] before.
pub(super) fn is_in_product(graph: &Graph, node: NodeIndex) -> bool {
    is::<Mul>(graph, node) && {
        let factors = reads(graph, node, Direction::Incoming);
        let readers = reads(graph, node, Direction::Outgoing);
        readers
            .iter()
            .any(|reader| summed_axis(graph, reader.target).is_some_and(|axis| is_product(&factors, axis)))
    }
}

fn summed_axis(graph: &Graph, node: NodeIndex) -> Option<usize> {
    graph.graph.node_weight(node)?.as_any().downcast_ref::<SumReduce>().map(|sum| sum.0)
}

/// Returns whether luminal_cuda takes these factors, multiplied and summed over `axis`, for a product: `[A, C*, B]` and
/// `[A*, C, B]`, or `[D, A, C*, B]` and `[D*, A*, C, B]`, where a star marks an axis along which a factor repeats.
fn is_product(factors: &[Read], axis: usize) -> bool {
    let repeats: [&[bool]; 2] = match axis {
        2 => [&[false, true, false], &[true, false, false]],
        3 => [&[false, false, true, false], &[true, true, false, false]],
        _ => return false,
    };
    factors.iter().zip(repeats).all(|(factor, repeats)| {
        let view = &factor.view;
        view.indexes.len() == repeats.len()
            && view.indexes.iter().zip(repeats).all(|(&index, &repeat)| view.fake[index] == repeat)
    })
}

fn is_cut(view: &ShapeTracker) -> bool {
    view.is_sliced() || view.is_padded()
}
