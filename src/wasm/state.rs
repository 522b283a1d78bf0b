//! As `src/state.rs`, without the reason: the TypeScript of the npm package knows it, and its module is smaller.

use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct State<T>(Option<Arc<T>>);

impl<T> State<T> {
    pub(crate) fn enabled(own: T) -> Self {
        Self(Some(Arc::new(own)))
    }

    pub(crate) fn disabled(_: impl FnOnce() -> String) -> Self {
        Self(None)
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    pub(crate) fn why_disabled(&self) -> Option<&str> {
        None
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
