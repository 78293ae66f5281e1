//! How the points of trajectories lie in space: their covariance, participation ratio and principal components.
//!
//! A *point* is a state after one update, as the mean over its positions, `[D]`. The covariance is summed up point by
//! point, in f64 and in blocks, so that memory depends on `D` alone. The points are taken relative to the first one: a
//! mean that is far from zero would cost digits.
//!
//! The participation ratio is `(sum of λ)^2 / sum of λ^2` over the eigenvalues `λ` of the covariance (figure 8 of
//! [arXiv:2506.21734](https://arxiv.org/abs/2506.21734)): the number of dimensions that the points fill. It needs no
//! eigenvalues: the sums are the trace and the squared Frobenius norm.

use nalgebra::{DMatrix, DVector};

/// Points that are summed up at once.
const BLOCK: usize = 64;

/// The covariance of points, summed up while they come.
#[derive(Debug, Clone)]
pub struct Covariance {
    width: usize,
    /// The first point, which the others are taken relative to.
    origin: Option<Vec<f64>>,
    /// Points that are not in the sums yet, row by row.
    waiting: Vec<f64>,
    count: usize,
    /// Sum of the points.
    sum: DVector<f64>,
    /// Sum of the products of all pairs of coordinates.
    products: DMatrix<f64>,
}

/// A direction in which points vary.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its share of the variance, from 0 to 1.
    pub share: f64,
    /// The unit vector, `[D]`, whose largest coordinate is positive.
    pub direction: Vec<f64>,
}

impl Covariance {
    /// Returns that of no points with so many coordinates.
    pub fn new(width: usize) -> Covariance {
        Covariance {
            width,
            origin: None,
            waiting: Vec::new(),
            count: 0,
            sum: DVector::zeros(width),
            products: DMatrix::zeros(width, width),
        }
    }

    /// Adds a point, `[D]`.
    ///
    /// # Panics
    ///
    /// If it has another number of coordinates.
    pub fn add(&mut self, point: &[f64]) {
        assert_eq!(point.len(), self.width, "all points have the same coordinates");
        let origin = self.origin.get_or_insert_with(|| point.to_vec());
        self.waiting.extend(point.iter().zip(origin).map(|(value, origin)| value - *origin));
        self.count += 1;
        if self.waiting.len() >= BLOCK * self.width {
            self.sum_up();
        }
    }

    fn sum_up(&mut self) {
        let points = DMatrix::from_row_slice(self.waiting.len() / self.width, self.width, &self.waiting);
        self.products.gemm(1.0, &points.transpose(), &points, 1.0);
        self.sum += points.row_sum().transpose();
        self.waiting.clear();
    }

    /// Returns how many points there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the mean of the points; zeros without points.
    pub fn mean(&self) -> Vec<f64> {
        let mut whole = self.clone();
        whole.sum_up();
        let origin = whole.origin.unwrap_or_else(|| vec![0.0; self.width]);
        let count = self.count.max(1) as f64;
        origin.iter().zip(whole.sum.iter()).map(|(origin, sum)| origin + sum / count).collect()
    }

    /// Returns the covariance, `[D, D]`: sums of products of distances from the mean, divided by the number of points
    /// less one.
    fn matrix(&self) -> DMatrix<f64> {
        let mut whole = self.clone();
        whole.sum_up();
        let count = self.count as f64;
        (whole.products - &whole.sum * whole.sum.transpose() / count) / (count - 1.0).max(1.0)
    }

    /// Returns how many dimensions the points fill; `None` for fewer than two points, and for points that are all equal.
    pub fn participation_ratio(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        let matrix = self.matrix();
        let ratio = matrix.trace().powi(2) / matrix.norm_squared();
        ratio.is_finite().then_some(ratio)
    }

    /// Returns the directions with the largest shares of the variance, that with the largest first; fewer where there is no
    /// variance left.
    pub fn components(&self, count: usize) -> Vec<Component> {
        if self.count < 2 {
            return Vec::new();
        }
        let eigen = self.matrix().symmetric_eigen();
        let total: f64 = eigen.eigenvalues.iter().map(|value| value.max(0.0)).sum();
        let mut order: Vec<usize> = (0..self.width).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let varies = |&index: &usize| eigen.eigenvalues[index] > total * f64::EPSILON;
        let component = |index: usize| {
            let direction: Vec<f64> = eigen.eigenvectors.column(index).iter().copied().collect();
            let largest = direction.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
            let direction = direction.into_iter().map(|value| value * largest.signum()).collect();
            Component { share: eigen.eigenvalues[index] / total, direction }
        };
        order.into_iter().filter(varies).take(count).map(component).collect()
    }
}

impl Component {
    /// Returns where a point lies along the direction, counted from `mean`.
    pub fn place(&self, point: &[f64], mean: &[f64]) -> f64 {
        let from_mean = point.iter().zip(mean).map(|(value, mean)| value - mean);
        from_mean.zip(&self.direction).map(|(value, direction)| value * direction).sum()
    }
}

/// Returns the mean over the positions of a state `[P + S, D]`.
pub fn mean_over_positions(state: &[f32], width: usize) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    for position in state.chunks_exact(width) {
        mean.iter_mut().zip(position).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let positions = (state.len() / width) as f64;
    mean.iter_mut().for_each(|sum| *sum /= positions);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::testing::Numbers;

    /// Returns random points that vary by `spread` in each coordinate around a mean that is far away.
    fn points(count: usize, spread: &[f64], numbers: &mut Numbers) -> Vec<Vec<f64>> {
        let mut centred = || numbers.below(20_001) as f64 / 10_000.0 - 1.0;
        (0..count).map(|_| spread.iter().map(|spread| 1e3 + spread * centred()).collect()).collect()
    }

    fn covariance(points: &[Vec<f64>]) -> Covariance {
        let mut covariance = Covariance::new(points[0].len());
        points.iter().for_each(|point| covariance.add(point));
        covariance
    }

    #[test]
    fn the_covariance_is_that_of_two_passes() {
        let points = points(150, &[1.0, 2.0, 0.5], &mut Numbers::new(1));
        let found = covariance(&points);
        let mean: Vec<f64> =
            (0..3).map(|at| points.iter().map(|point| point[at]).sum::<f64>() / 150.0).collect();
        for (a, found) in found.mean().iter().enumerate() {
            assert!((found - mean[a]).abs() < 1e-10);
        }
        let matrix = found.matrix();
        for a in 0..3 {
            for b in 0..3 {
                let products = points.iter().map(|point| (point[a] - mean[a]) * (point[b] - mean[b]));
                let expected = products.sum::<f64>() / 149.0;
                // Sums of 150 products of about 1, in f64.
                assert!((matrix[(a, b)] - expected).abs() < 1e-12, "{a}, {b}");
            }
        }
    }

    #[test]
    fn the_participation_ratio_is_that_of_the_eigenvalues() {
        let points = points(300, &[3.0, 2.0, 1.0, 0.5, 0.1], &mut Numbers::new(2));
        let found = covariance(&points);
        let values = found.matrix().symmetric_eigenvalues();
        let expected = values.sum().powi(2) / values.norm_squared();
        let ratio = found.participation_ratio().expect("they vary");
        assert!((ratio - expected).abs() < 1e-10, "{ratio} and {expected}");
        assert!(1.0 < ratio && ratio < 5.0);
    }

    #[test]
    fn points_on_a_line_fill_one_dimension_and_equal_ones_none() {
        let line: Vec<Vec<f64>> = (0..10).map(|at| vec![f64::from(at), 2.0 * f64::from(at), 0.0]).collect();
        let found = covariance(&line);
        assert!((found.participation_ratio().expect("they vary") - 1.0).abs() < 1e-12);
        let components = found.components(3);
        assert_eq!(components.len(), 1);
        assert!((components[0].share - 1.0).abs() < 1e-12);
        let expected = [1.0 / 5f64.sqrt(), 2.0 / 5f64.sqrt(), 0.0];
        assert!(components[0].direction.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        // The mean is at 4.5 along the first coordinate.
        assert!((components[0].place(&line[9], &found.mean()) - 4.5 * 5f64.sqrt()).abs() < 1e-12);

        let equal = covariance(&vec![vec![1.0, 2.0]; 5]);
        assert_eq!((equal.participation_ratio(), equal.components(2).len()), (None, 0));
        assert_eq!(covariance(&[vec![1.0, 2.0]]).participation_ratio(), None);
    }

    #[test]
    fn a_state_is_its_mean_over_positions() {
        assert_eq!(mean_over_positions(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
    }
}
