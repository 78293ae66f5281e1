//! Types of the values in a graph.

use std::fmt;

/// Element type of a tensor. Both take four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 32-bit signed integer: tokens, labels and row numbers.
    I32,
}

impl DType {
    /// Returns the name in messages.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
        }
    }
}

/// Element type and shape of a tensor; row-major and contiguous.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

/// Returns the product of sizes, or the largest number there is.
fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product: usize, &size| product.saturating_mul(size))
}

/// Most elements that are counted, those of 256 TiB: no memory holds more, and sums of sizes stay far from overflow.
pub const MAX_ELEMENTS: usize = 1 << 46;

impl TensorType {
    /// Returns a type of `f32` elements.
    pub fn f32(shape: &[usize]) -> Self {
        TensorType { dtype: DType::F32, shape: shape.to_vec() }
    }

    /// Returns a type of `i32` elements.
    pub fn i32(shape: &[usize]) -> Self {
        TensorType { dtype: DType::I32, shape: shape.to_vec() }
    }

    /// Returns the number of elements, at most `MAX_ELEMENTS`.
    pub fn elements(&self) -> usize {
        product(&self.shape).min(MAX_ELEMENTS)
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> usize {
        self.elements() * 4
    }

    /// Returns the size of the last axis; 1 for a scalar.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Returns the product of all sizes but the last.
    pub fn rows(&self) -> usize {
        product(&self.shape[..self.shape.len().saturating_sub(1)])
    }

    /// Returns the same shape with another last axis.
    pub fn with_width(&self, width: usize) -> Self {
        let mut shape = self.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = width;
        }
        TensorType { dtype: self.dtype, shape }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.dtype {
            DType::F32 => "f32[",
            DType::I32 => "i32[",
        })?;
        for (index, size) in self.shape.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{size}")?;
        }
        f.write_str("]")
    }
}
