//! What is random, from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The same seed draws the same.
pub struct Draw {
    random: StdRng,
}

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// From 0 to `end`, which is not drawn.
    pub fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// One of these, by their weights.
    pub fn weighted<T: Copy>(&mut self, all: &[(usize, T)]) -> T {
        let sum = all.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(sum);
        for (weight, one) in all {
            if at < *weight {
                return *one;
            }
            at -= weight;
        }
        unreachable!("the weights are summed up")
    }

    /// Between one and `most` of these, each once, in their order.
    pub fn some<T: Clone>(&mut self, all: &[T], most: usize) -> Vec<T> {
        self.between(all, 1, most)
    }

    /// Between `least` and `most` of these, each once, in their order.
    pub fn between<T: Clone>(&mut self, all: &[T], least: usize, most: usize) -> Vec<T> {
        let mut left: Vec<usize> = (0..all.len()).collect();
        let count = least + self.below(most.min(all.len()) - least + 1);
        while left.len() > count {
            let out = self.below(left.len());
            left.remove(out);
        }
        left.into_iter().map(|index| all[index].clone()).collect()
    }
}
