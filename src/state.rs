//! What clones of a client share, or why there is nothing to share.

use std::sync::Arc;

/// What an enabled client has, or why it is disabled. One pointer, because every observation has a clone.
#[derive(Debug)]
pub(crate) struct State<T>(Arc<Result<T, Box<str>>>);

impl<T> State<T> {
    pub(crate) fn enabled(own: T) -> Self {
        Self(Arc::new(Ok(own)))
    }

    pub(crate) fn disabled(why: impl FnOnce() -> String) -> Self {
        Self(Arc::new(Err(why().into())))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref().as_ref().ok()
    }

    pub(crate) fn why_disabled(&self) -> Option<&str> {
        self.0.as_ref().as_ref().err().map(AsRef::as_ref)
    }

    /// Whether both are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
