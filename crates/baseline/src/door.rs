//! luminal_cuda behind one door: a graph of hrmc, decomposed, compiled by luminal_cuda's own compiler and run on a
//! device.
//!
//! This is the baseline that fused kernels are compared with: one kernel and one allocation for each primitive, in f32.
//! Weights, optimizer state and carry are [`Tensor`]s in the device's memory; a run takes those that a graph reads
//! and leaves those that it overwrites, and nothing is copied. Constants go to the device once.
//!
//! luminal_cuda reports errors by panicking. Here they are caught and returned as a [`Fault`]. What its compiler gets
//! wrong is in [`faults`].
//!
//! Before the first call the process must have provided luminal_cuda with a compiler of kernels and cuBLAS, and know
//! that there is a driver.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use hrmc::internals::graph::Graph;
use hrmc::internals::graph::decomposed::Decomposed;
use hrmc::internals::graph::luminal::tracker;
use luminal::graph::NodeIndex;
use luminal::op::{Contiguous, Function, InputTensor, Operator};
use luminal::prelude::petgraph::Direction;
use luminal::prelude::petgraph::visit::{EdgeRef, IntoEdgeReferences};
use luminal::shape::ShapeTracker;
use luminal::tensor::Tensor as Data;
use luminal_cuda::CudaCompiler;

use crate::faults;

/// The most elements of a tensor: kernels of luminal_cuda count them in 32 bits.
const MAX_ELEMENTS: usize = i32::MAX as usize;

/// Why luminal_cuda does not do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The device has no memory left.
    #[error("the device has no memory left for `luminal-cuda`; use a smaller batch or model")]
    OutOfMemory,
    /// A tensor is larger than its kernels can count.
    #[error(
        "`luminal-cuda` needs a tensor of {elements} elements, and its kernels count up to {MAX_ELEMENTS}; \
         use a smaller batch or model"
    )]
    TooLarge {
        /// Elements of the tensor.
        elements: usize,
    },
    /// Anything else, in luminal_cuda's words. The device may be lost, so that dropping what is there may panic.
    #[error("`luminal-cuda` does not work here: {0}")]
    Other(String),
}

impl Fault {
    /// Reads what luminal_cuda said when it panicked.
    fn of(message: &str) -> Fault {
        if message.contains("CUDA_ERROR_OUT_OF_MEMORY") {
            return Fault::OutOfMemory;
        }
        let unwrapped = message.strip_prefix("called `Result::unwrap()` on an `Err` value: ");
        Fault::Other(unwrapped.unwrap_or(message).to_string())
    }
}

thread_local! {
    /// Whether the next panic of this thread is luminal_cuda's and will be caught.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of luminal_cuda, and returns a panic as an error without a word on the terminal.
fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Fault> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A panic on the way from the first one cannot be caught, so that it is not kept quiet.
            if !EXPECTED.replace(false) {
                usual(info);
            }
        }));
    });
    EXPECTED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        Fault::of(text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("it panics without a word"))
    })
}

/// A tensor in the device's memory.
#[derive(Debug)]
pub struct Tensor(Data);

// SAFETY: a tensor is memory of the device, which any thread may use and free: luminal_cuda makes the device's context
// current in the thread first.
unsafe impl Send for Tensor {}

/// Copies between the host and the device.
///
/// The type of luminal_cuda's tensors is its own, so that its operators do the copying.
pub struct Transfers {
    to_device: Box<dyn Operator>,
    from_device: Box<dyn Operator>,
}

// SAFETY: both operators hold a counted reference to the device and nothing else, and any thread may use the device.
unsafe impl Send for Transfers {}

impl Transfers {
    /// Makes the device ready.
    ///
    /// # Errors
    ///
    /// Returns a fault if the device cannot be used.
    pub fn new() -> Result<Self, Fault> {
        caught(|| {
            // The smallest graph in which both operators are put: one tensor goes in, its copy comes out.
            let mut graph = Box::new(luminal::graph::Graph::new());
            let input = graph.add_op(Function("input".into(), Box::new(|_| Vec::new()))).finish();
            let mut output = graph.add_op(Contiguous).input(input, 0, tracker(&[1])).finish();
            graph.retrieve_tensors(output);
            graph.compile(CudaCompiler::<f32>::default(), &mut output);
            let to_device = graph.graph.neighbors(input).next().expect("an input is copied to the device");
            let mut take = |node| graph.graph.remove_node(node).expect("the operator is there");
            Transfers { to_device: take(to_device), from_device: take(output) }
        })
    }

    /// Copies numbers to the device.
    ///
    /// # Errors
    ///
    /// Returns a fault if the device has no memory for them.
    pub fn upload(&mut self, values: Vec<f32>) -> Result<Tensor, Fault> {
        copy(&mut *self.to_device, InputTensor::Owned(Data::new(values))).map(Tensor)
    }

    /// Copies numbers from the device, after all that was begun there.
    ///
    /// # Errors
    ///
    /// Returns a fault if something that was begun before went wrong.
    pub fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, Fault> {
        let data = copy(&mut *self.from_device, InputTensor::Borrowed(&tensor.0))?;
        Ok(data.data.as_any().downcast_ref::<Vec<f32>>().expect("numbers on the host are f32").clone())
    }
}

fn copy(operator: &mut dyn Operator, tensor: InputTensor<'_>) -> Result<Data, Fault> {
    caught(|| operator.process(vec![(tensor, ShapeTracker::new(&[]))]).remove(0))
}

/// A program on the device.
pub struct Program {
    graph: Box<luminal::graph::Graph>,
    inputs: Vec<(String, NodeIndex)>,
    outputs: Vec<(String, NodeIndex)>,
}

// SAFETY: everything in it is its own or the device's. Operators are luminal's, luminal_cuda's and functions of hrmc
// over vectors; the pointers among them lead into the boxed graph, which goes along. The device, its kernels and its
// memory may be used from any thread. The handle of cuBLAS, which programs share, may be used by one thread at a time,
// which luminal_cudarc sees to.
unsafe impl Send for Program {}

impl Program {
    /// Decomposes every operator of `graph` and lets luminal_cuda compile what results.
    ///
    /// # Errors
    ///
    /// Returns a fault if a kernel does not compile, if the device has no memory for the constants, or if a tensor is
    /// too large.
    pub fn new(graph: &Graph, transfers: &mut Transfers) -> Result<Self, Fault> {
        let Decomposed { mut primitives, mut outputs, .. } = Decomposed::decompose(graph);
        for (_, output) in &mut outputs {
            primitives.materialize(output);
            primitives.graph.no_delete.insert(output.node);
        }
        let mut graph = primitives.graph;
        faults::avoid(&mut graph);
        check_sizes(&graph)?;
        caught(|| {
            let kept: Vec<&mut NodeIndex> = outputs.iter_mut().map(|(_, output)| &mut output.node).collect();
            graph.compile(CudaCompiler::<f32>::default(), kept);
        })?;
        let mut program = Program {
            graph,
            inputs: primitives.inputs.into_iter().collect(),
            outputs: outputs.into_iter().map(|(name, output)| (name, output.node)).collect(),
        };
        program.settle(transfers)?;
        Ok(program)
    }

    /// Puts everything that does not change on the device, for good, and takes out what would copy inputs.
    fn settle(&mut self, transfers: &mut Transfers) -> Result<(), Fault> {
        let graph = &mut self.graph;
        let copy_of = |graph: &luminal::graph::Graph, input| graph.graph.neighbors(input).next();
        // An input that nothing reads has no copy on the device.
        self.inputs.retain_mut(|(_, node)| {
            let copy = copy_of(graph, *node);
            graph.graph.remove_node(*node);
            copy.inspect(|&copy| *node = copy).is_some()
        });
        let inputs: Vec<NodeIndex> = self.inputs.iter().map(|(_, node)| *node).collect();
        let sources: Vec<NodeIndex> = graph.graph.externals(Direction::Incoming).collect();
        for source in sources.into_iter().filter(|source| !inputs.contains(source)) {
            let operator = graph.graph.node_weight_mut(source).expect("the source is there");
            let on_host = operator.as_any().is::<Function>();
            let mut data = caught(|| operator.process(Vec::new()).remove(0))?;
            let mut node = Some(source);
            if on_host {
                data = copy(&mut *transfers.to_device, InputTensor::Owned(data))?;
                node = copy_of(graph, source);
                graph.graph.remove_node(source);
            }
            if let Some(node) = node {
                graph.set_tensor(node, 0, data);
                graph.keep_tensors(node);
            }
        }
        inputs.into_iter().for_each(|input| graph.keep_tensors(input));
        // Sorts the nodes again, now that some are gone.
        graph.compile((), ());
        Ok(())
    }

    /// Returns the names of the inputs that the program reads.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the names of what the program writes: outputs, and inputs that it overwrites.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(name, _)| name.as_str())
    }

    /// Runs the program: it reads its inputs in `memory` and puts its outputs there.
    ///
    /// # Errors
    ///
    /// Returns a fault if the device has no memory for a result. `memory` is then as it was.
    pub fn run(&mut self, memory: &mut BTreeMap<String, Tensor>) -> Result<(), Fault> {
        for (name, node) in &self.inputs {
            let Tensor(data) = memory.remove(name).expect("inputs are in memory");
            self.graph.set_tensor(*node, 0, data);
        }
        let done = caught(|| self.graph.execute());
        for (name, node) in &self.inputs {
            let data = self.graph.get_tensor(*node, 0).expect("inputs are kept");
            memory.insert(name.clone(), Tensor(data));
        }
        let results = done.and_then(|()| self.take_outputs());
        // Nothing may be left that the next run would take for a result of its own. After other faults there is no
        // next run, and nothing can be freed.
        if matches!(results, Err(Fault::OutOfMemory)) {
            self.outputs.iter().for_each(|(_, node)| self.graph.drop_tensors(*node));
            self.graph.reset();
        }
        memory.extend(results?);
        Ok(())
    }

    fn take_outputs(&mut self) -> Result<Vec<(String, Tensor)>, Fault> {
        let mut results = Vec::new();
        for (index, (name, node)) in self.outputs.iter().enumerate() {
            let again = self.outputs[index + 1..].iter().any(|(_, other)| other == node);
            let data = if again {
                caught(|| self.graph.get_tensor_ref(*node, 0).expect("outputs are kept").clone())?
            } else {
                self.graph.get_tensor(*node, 0).expect("outputs are kept")
            };
            results.push((name.clone(), Tensor(data)));
        }
        Ok(results)
    }
}

/// Finds tensors that are larger than kernels can count. It has to be known before luminal_cuda's compiler, which
/// counts like them.
fn check_sizes(graph: &luminal::graph::Graph) -> Result<(), Fault> {
    for edge in graph.graph.edge_references() {
        let Some((_, _, view)) = edge.weight().as_data() else { continue };
        if [edge.source(), edge.target()].iter().any(|&node| faults::is_in_product(graph, node)) {
            continue;
        }
        let sizes = view.shape().into_iter().map(|size| size.to_usize().expect("sizes are constant"));
        let elements = sizes.product();
        if elements > MAX_ELEMENTS {
            return Err(Fault::TooLarge { elements });
        }
    }
    Ok(())
}
