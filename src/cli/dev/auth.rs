//! Who is asking.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) const INVALID_CREDENTIALS: &str =
    "Invalid credentials. Confirm that you've configured the correct host.";

pub(super) struct Keys {
    pub(super) public: String,
    pub(super) secret: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    Project,
    /// Bearer with the public key: scores and SDK logs only.
    Scores,
    Denied(&'static str),
}

impl Keys {
    /// As the server does it: the scheme is case-sensitive and the secret key alone decides for Basic.
    pub(super) fn check(&self, headers: &HeaderMap) -> Access {
        let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return Access::Denied("No authorization header");
        };
        if let Some(encoded) = value.strip_prefix("Basic ") {
            let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let secret = decoded.as_deref().and_then(|pair| pair.split(':').nth(1));
            if secret == Some(self.secret.as_str()) {
                return Access::Project;
            }
        } else if value.strip_prefix("Bearer ") == Some(self.public.as_str()) {
            return Access::Scores;
        }
        Access::Denied(INVALID_CREDENTIALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(value: &str) -> Access {
        let keys = Keys { public: "pk".to_owned(), secret: "sk".to_owned() };
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        keys.check(&headers)
    }

    #[test]
    fn basic_takes_the_first_two_parts_and_the_secret_decides() {
        assert_eq!(access(&format!("Basic {}", STANDARD.encode("pk:sk"))), Access::Project);
        assert_eq!(access(&format!("Basic {}", STANDARD.encode("other:sk:more"))), Access::Project);
        assert_eq!(
            access(&format!("Basic {}", STANDARD.encode("pk:wrong"))),
            Access::Denied(INVALID_CREDENTIALS)
        );
    }

    #[test]
    fn the_scheme_is_case_sensitive() {
        assert_eq!(
            access(&format!("basic {}", STANDARD.encode("pk:sk"))),
            Access::Denied(INVALID_CREDENTIALS)
        );
    }

    #[test]
    fn bearer_with_the_public_key_may_score_only() {
        assert_eq!(access("Bearer pk"), Access::Scores);
        assert_eq!(access("Bearer sk"), Access::Denied(INVALID_CREDENTIALS));
    }
}
