//! Named random streams that give the same draws for ever.
//!
//! A stream is ChaCha8 keyed by the SHA-256 of a seed and a name, so streams with different names are
//! independent. Draws are made here from whole 64-bit words, not through the distributions of `rand`,
//! whose results may change between its releases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// A seeded random stream.
#[derive(Debug, Clone)]
pub struct Stream {
    words: ChaCha8Rng,
}

impl Stream {
    /// Returns part `part` of the stream `name` of `seed`, at its beginning.
    ///
    /// The parts of a stream are independent of each other. A stream that needs no parts is part 0.
    pub fn new(seed: u64, name: &str, part: u64) -> Stream {
        let mut digest = Sha256::new();
        digest.update(b"hrmc stream ");
        digest.update(seed.to_le_bytes());
        digest.update(name.as_bytes());
        let mut words = ChaCha8Rng::from_seed(digest.finalize().into());
        words.set_stream(part);
        Stream { words }
    }

    /// Returns how many 32-bit words have been drawn.
    pub fn position(&self) -> u64 {
        u64::try_from(self.words.get_word_pos()).expect("nobody draws 2^64 words")
    }

    /// Moves to a position given by [`Stream::position`].
    pub fn seek(&mut self, position: u64) {
        self.words.set_word_pos(u128::from(position));
    }

    /// Draws a number in `0..bound`, each equally likely (Lemire 2019, with rejection).
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "an empty range has nothing to draw");
        let bound = bound as u64;
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.words.next_u64()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as usize;
            }
        }
    }

    /// Draws `true` or `false`, equally likely.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Shuffles a slice (Fisher and Yates), every order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Draws `count` different numbers in `0..bound`, in random order.
    ///
    /// # Panics
    ///
    /// If `count` is more than `bound`.
    pub fn sample(&mut self, bound: usize, count: usize) -> Vec<usize> {
        assert!(count <= bound, "cannot draw {count} different numbers below {bound}");
        let mut numbers: Vec<usize> = (0..bound).collect();
        for place in 0..count {
            let other = place + self.below(bound - place);
            numbers.swap(place, other);
        }
        numbers.truncate(count);
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_never_change() {
        let mut stream = Stream::new(7, "shuffle", 0);
        let draws: Vec<usize> = (0..8).map(|_| stream.below(1000)).collect();
        assert_eq!(draws, [982, 793, 157, 293, 963, 826, 222, 308]);
        assert_eq!(stream.position(), 16);
    }

    #[test]
    fn seed_name_and_part_each_give_another_stream() {
        let first = |seed, name, part| Stream::new(seed, name, part).below(usize::MAX);
        let base = first(0, "shuffle", 0);
        assert_ne!(base, first(1, "shuffle", 0));
        assert_ne!(base, first(0, "init", 0));
        assert_ne!(base, first(0, "shuffle", 1));
    }

    #[test]
    fn a_sought_stream_goes_on_as_the_original() {
        let mut stream = Stream::new(3, "shuffle", 2);
        for bound in 1..40 {
            stream.below(bound);
        }
        let mut other = Stream::new(3, "shuffle", 2);
        other.seek(stream.position());
        for _ in 0..40 {
            assert_eq!(stream.below(1 << 40), other.below(1 << 40));
        }
    }

    #[test]
    fn every_number_of_a_range_is_drawn_about_equally_often() {
        let mut stream = Stream::new(0, "fair", 0);
        let mut counts = [0_u32; 7];
        for _ in 0..7000 {
            counts[stream.below(7)] += 1;
        }
        // Five standard deviations of a binomial with mean 1000 are 146.
        assert!(counts.iter().all(|&count| count.abs_diff(1000) < 146), "{counts:?}");
    }

    #[test]
    fn a_sample_has_no_repeats() {
        let mut sample = Stream::new(0, "sample", 0).sample(50, 50);
        assert_ne!(sample, (0..50).collect::<Vec<_>>());
        sample.sort_unstable();
        assert_eq!(sample, (0..50).collect::<Vec<_>>());
    }
}
