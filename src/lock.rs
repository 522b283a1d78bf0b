//! Locks that no panic closes.

use std::sync::{LockResult, PoisonError};

/// What a lock gives, also after a panic of somebody who held it: at worst one observation says less then, which is no reason
/// to give up all others.
pub(crate) fn unpoisoned<Guard>(locked: LockResult<Guard>) -> Guard {
    locked.unwrap_or_else(PoisonError::into_inner)
}
