//! One error type with predicates.
//!
//! Errors exist at construction only (configuration, ids): nothing that records or sends ever returns one.

use std::fmt;

/// What was wrong with a value the caller gave, in a sentence that names the field and the fix.
///
/// It never contains a key or any recorded text.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Configuration,
    InvalidId,
}

impl Error {
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self { kind: Kind::Configuration, message: message.into() }
    }

    pub(crate) fn invalid_id(message: impl Into<String>) -> Self {
        Self { kind: Kind::InvalidId, message: message.into() }
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// An option or environment variable has a value that cannot be used.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.kind == Kind::Configuration
    }

    /// A trace or observation id is not what W3C Trace Context allows.
    #[must_use]
    pub fn is_invalid_id(&self) -> bool {
        self.kind == Kind::InvalidId
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
