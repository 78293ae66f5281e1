//! Text forms of a graph: one line per node, and Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, NodeId, Op, Value};

/// Names values for display: `%3`, or `%3.1` for a further output; inputs by their name.
struct Names {
    numbers: BTreeMap<NodeId, String>,
}

impl Names {
    fn new(graph: &Graph, order: &[NodeId]) -> Self {
        let mut numbers = BTreeMap::new();
        let mut next = 0;
        for &node in order {
            let name = match graph.op(node) {
                Op::Input(input) => input.name.clone(),
                _ => {
                    next += 1;
                    format!("%{}", next - 1)
                }
            };
            numbers.insert(node, name);
        }
        Names { numbers }
    }

    fn value(&self, value: Value) -> String {
        let name = &self.numbers[&value.node];
        if value.output == 0 { name.clone() } else { format!("{name}.{}", value.output) }
    }
}

fn attributes(graph: &Graph, node: NodeId) -> String {
    let attributes = graph.op(node).as_operation().attributes();
    if attributes.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = attributes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!(" {{ {} }}", parts.join(", "))
}

/// Returns the stable text form: inputs by name, then one line per node in the order of execution.
pub fn to_text(graph: &Graph) -> String {
    let order = graph.order();
    let names = Names::new(graph, &order);
    let mut text = String::new();
    for (name, &value) in graph.inputs() {
        let _ = writeln!(text, "input {name}: {}", graph.ty(value));
    }
    for &node in &order {
        if matches!(graph.op(node), Op::Input(_)) {
            continue;
        }
        let results: Vec<String> = graph.results(node).iter().map(|&value| names.value(value)).collect();
        let operands: Vec<String> = graph.operands(node).iter().map(|&value| names.value(value)).collect();
        let types: Vec<String> =
            graph.results(node).iter().map(|&value| graph.ty(value).to_string()).collect();
        let _ = writeln!(
            text,
            "{} = {}({}){} : {}",
            results.join(", "),
            graph.op(node).as_operation().name(),
            operands.join(", "),
            attributes(graph, node),
            types.join(", "),
        );
    }
    for (name, &value) in graph.outputs() {
        let _ = writeln!(text, "output {name} = {}", names.value(value));
    }
    text
}

/// Returns the graph in Graphviz's language.
pub fn to_dot(graph: &Graph) -> String {
    let order = graph.order();
    let names = Names::new(graph, &order);
    let mut text =
        String::from("digraph hrmc {\n  rankdir = TB;\n  node [shape = box, fontname = \"monospace\"];\n");
    for &node in &order {
        let results = graph.results(node);
        let types: Vec<String> = results.iter().map(|&value| graph.ty(value).to_string()).collect();
        let (label, style) = match graph.op(node) {
            Op::Input(input) => (input.name.clone(), ", style = filled, fillcolor = \"#e8eef7\""),
            Op::Detach(_) => ("detach".to_string(), ", style = filled, fillcolor = \"#f7e3e0\""),
            op => (op.as_operation().name().to_string(), ""),
        };
        let _ = writeln!(
            text,
            "  \"{}\" [label = \"{label}\\n{}\"{style}];",
            names.numbers[&node],
            types.join("\\n"),
        );
        for operand in graph.operands(node) {
            let _ = writeln!(text, "  \"{}\" -> \"{}\";", names.numbers[&operand.node], names.numbers[&node]);
        }
    }
    for (name, &value) in graph.outputs() {
        let _ = writeln!(text, "  \"output {name}\" [label = \"{name}\", shape = ellipse];");
        let _ = writeln!(text, "  \"{}\" -> \"output {name}\";", names.numbers[&value.node]);
    }
    text.push_str("}\n");
    text
}
