//! A value that is replaced while others use it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Handles to one value. Whoever has taken it keeps what he took; the next one
/// gets what it was replaced with.
pub struct Current<T>(Arc<Mutex<Arc<T>>>);

impl<T> Current<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(value))))
    }

    /// The value as it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.lock())
    }

    /// Replaces it, for all handles.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        *self.lock() = value.into();
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Current<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handle_sees_the_newest_value_and_what_was_taken_stays() {
        let one = Current::new(1);
        let other = one.clone();
        let taken = other.get();
        one.set(2);
        assert_eq!((*taken, *other.get()), (1, 2));
    }
}
