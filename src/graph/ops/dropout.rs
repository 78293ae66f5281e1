//! Dropout, by numbers that follow from a key of each row alone.

use super::{Backward, Operation, ShapeError, require};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{DType, Graph, TensorType, Value};

/// Sets a share of the elements to zero and divides the others by what is left (Srivastava et al. 2014): `x [B, ..]`,
/// `keys i32 [B]` to `y [B, ..]`.
///
/// Whether an element of a row stays follows from the key of the row, the place of the operator in its program, and the
/// place of the element in the row ([`is_dropped`]). So it depends neither on threads nor on the rows beside it. The
/// gradient of the operator is the operator itself, with the same keys. Keys are at least 0 and below 2^24.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropout {
    /// Share of the elements that become zero, at least 0 and below 1.
    pub rate: f32,
    /// Number that tells this operator from others of its program.
    pub site: u32,
}

impl Dropout {
    /// Returns the factor of the elements that stay.
    pub fn factor(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    /// Returns the numbers, of all below 2^32, that drop an element: those below this.
    pub fn threshold(&self) -> u32 {
        (f64::from(self.rate) * 4_294_967_296.0) as u32
    }
}

/// Returns the seed of a row at one place of a program.
pub fn dropout_seed(key: i32, site: u32) -> u32 {
    mixed((key as u32).wrapping_add(mixed(site.wrapping_add(1))))
}

/// Returns whether the element `index` of a row with this seed is dropped.
#[inline(always)]
pub fn is_dropped(seed: u32, index: u32, threshold: u32) -> bool {
    mixed(index.wrapping_mul(0x9e37_79b9).wrapping_add(seed)) < threshold
}

/// Returns a number whose every bit depends on every bit of `x`: the end of MurmurHash3 (Appleby).
#[inline(always)]
fn mixed(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

operands!(Dropout { inputs: [X, KEYS], outputs: [Y] });

impl Operation for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("rate", format!("{:?}", self.rate)), ("site", self.site.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (x, keys) = (&inputs[Self::X], &inputs[Self::KEYS]);
        let fits = !x.shape.is_empty() && keys.dtype == DType::I32 && keys.shape == x.shape[..1];
        require(fits, || format!("needs [B, ..] and i32 [B], found {x} and {keys}"))?;
        Ok(vec![x.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, keys) = (inputs[Self::X], inputs[Self::KEYS]);
        let shape = p.shape(x);
        let row: usize = shape[1..].iter().product();
        let (factor, threshold, site) = (self.factor(), self.threshold(), self.site);
        let name = format!("dropout {:?} {site} of {row}", self.rate);
        let mask = p.function(&name, &[keys], &shape, move |values| {
            let seeds = values[0].iter().map(|&key| dropout_seed(key as i32, site));
            let factor_of = |seed, index| if is_dropped(seed, index, threshold) { 0.0 } else { factor };
            seeds.flat_map(|seed| (0..row as u32).map(move |index| factor_of(seed, index))).collect()
        });
        vec![p.mul(x, mask)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(self.clone().into(), &[at.gradient(), at.inputs[Self::KEYS]])), None]
    }
}

#[cfg(test)]
mod tests {
    use super::{Dropout, dropout_seed, is_dropped};

    #[test]
    fn a_share_of_the_elements_is_dropped_in_every_row_at_every_place() {
        for rate in [0.05, 0.1, 0.5] {
            let threshold = Dropout { rate, site: 0 }.threshold();
            let mut all = Vec::new();
            for key in [0, 1, 2, 77, (1 << 24) - 1] {
                for site in 0..4 {
                    let seed = dropout_seed(key, site);
                    let dropped: Vec<bool> =
                        (0..10_000).map(|index| is_dropped(seed, index, threshold)).collect();
                    let share = dropped.iter().filter(|&&dropped| dropped).count() as f32 / 10_000.0;
                    // Five standard deviations of the mean of 10,000 draws.
                    assert!((share - rate).abs() < 5.0 * (rate * (1.0 - rate) / 10_000.0).sqrt(), "{share}");
                    all.push(dropped);
                }
            }
            for (index, one) in all.iter().enumerate() {
                for other in &all[..index] {
                    let both = one.iter().zip(other).filter(|(one, other)| **one && **other).count() as f32;
                    let expected = rate * rate;
                    let deviation = (expected * (1.0 - expected) / 10_000.0).sqrt();
                    assert!((both / 10_000.0 - expected).abs() < 5.0 * deviation, "rows and places differ");
                }
            }
        }
    }
}
