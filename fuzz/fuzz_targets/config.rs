//! An environment is read or refused without a panic, and nothing that may be logged shows the secret key.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use langfuse_edge::Options;
use langfuse_edge::config::Setup;
use libfuzzer_sys::fuzz_target;

const VARIABLES: [&str; 10] = [
    "LANGFUSE_PUBLIC_KEY",
    "LANGFUSE_BASE_URL",
    "LANGFUSE_BASEURL",
    "LANGFUSE_HOST",
    "LANGFUSE_TRACING_ENABLED",
    "LANGFUSE_TRACING_ENVIRONMENT",
    "LANGFUSE_RELEASE",
    "LANGFUSE_TIMEOUT",
    "LANGFUSE_FLUSH_AT",
    "LANGFUSE_FLUSH_INTERVAL",
];

/// Every secret key begins with it, and no other text does.
const MARK: &str = "sk-lf-5ecret";

fuzz_target!(|input: (Option<&str>, Vec<(u8, &str)>)| {
    let (secret, others) = input;
    let mut env: BTreeMap<&str, String> = BTreeMap::new();
    for (variable, value) in others {
        if !value.contains(MARK) {
            env.insert(VARIABLES[usize::from(variable) % VARIABLES.len()], value.to_owned());
        }
    }
    if let Some(secret) = secret {
        env.insert("LANGFUSE_SECRET_KEY", format!("{MARK}{secret}"));
    }

    let options = Options::default().or_env(&|name| env.get(name).cloned());
    assert!(!format!("{options:?}").contains(MARK));
    let setup = options.parse();
    assert!(!format!("{setup:?}").contains(MARK));
    match setup {
        Ok(Setup::Enabled(config)) => {
            let a_day = Duration::from_secs(86_400);
            assert!(config.base_url().starts_with("http"));
            assert!(!config.base_url().contains(char::is_whitespace));
            for duration in [config.timeout(), config.flush_interval()] {
                assert!(!duration.is_zero() && duration <= a_day);
            }
            assert!(config.flush_at() > 0);
        }
        Ok(Setup::Disabled { .. }) => (),
        Err(error) => {
            assert!(error.is_configuration());
            assert!(error.to_string().contains("LANGFUSE_"), "names the variable: {error}");
        }
    }
});
