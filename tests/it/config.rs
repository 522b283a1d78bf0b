use std::time::Duration;

use langfuse_edge::config::{Config, Options, Setting, Setup};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{millis, secs};

const PUBLIC_KEY: &str = "pk-lf-1234";
const SECRET_KEY: &str = "sk-lf-do-not-tell";

#[wasm_bindgen_test(unsupported = test)]
fn two_keys_are_enough() {
    let config = enabled(&with_keys());
    assert_eq!(config.base_url(), "https://cloud.langfuse.com");
    assert_eq!((config.environment(), config.release()), (None, None));
    assert_eq!((config.timeout(), config.flush_at(), config.flush_interval()), (secs(10), 100, secs(5)));
}

#[wasm_bindgen_test(unsupported = test)]
fn every_setting_can_come_from_its_variable() {
    let env = [
        ("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY),
        ("LANGFUSE_SECRET_KEY", SECRET_KEY),
        ("LANGFUSE_BASE_URL", "http://localhost:3000"),
        ("LANGFUSE_TRACING_ENABLED", "true"),
        ("LANGFUSE_TRACING_ENVIRONMENT", "staging"),
        ("LANGFUSE_RELEASE", "v42"),
        ("LANGFUSE_TIMEOUT", "2.5"),
        ("LANGFUSE_FLUSH_AT", "7"),
        ("LANGFUSE_FLUSH_INTERVAL", "0.25"),
    ];
    let config = enabled(&from_env(Options::default(), &env));
    assert_eq!(config.base_url(), "http://localhost:3000");
    assert_eq!((config.environment(), config.release()), (Some("staging"), Some("v42")));
    assert_eq!((config.timeout(), config.flush_at()), (millis(2500), 7));
    assert_eq!(config.flush_interval(), millis(250));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_option_wins_over_its_variable() {
    let env = [
        ("LANGFUSE_PUBLIC_KEY", "pk in the environment"),
        ("LANGFUSE_SECRET_KEY", "sk in the environment"),
        ("LANGFUSE_BASE_URL", "not a URL"),
        ("LANGFUSE_RELEASE", "v1"),
        ("LANGFUSE_FLUSH_AT", "many"),
        ("LANGFUSE_TRACING_ENABLED", "false"),
    ];
    let options = with_keys()
        .base_url("https://us.cloud.langfuse.com")
        .with(Setting::Release, "v2")
        .with(Setting::FlushAt, "5")
        .with(Setting::Enabled, "true");
    let config = enabled(&from_env(options, &env));
    assert_eq!(config.base_url(), "https://us.cloud.langfuse.com");
    assert_eq!((config.release(), config.flush_at()), (Some("v2"), 5));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_last_value_of_an_option_counts() {
    let options = with_keys().with(Setting::Release, "v1").with(Setting::Release, "v2");
    assert_eq!(enabled(&options).release(), Some("v2"));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_base_url_has_three_variables_in_order() {
    let newest = ("LANGFUSE_BASE_URL", "https://one.example");
    let older = ("LANGFUSE_BASEURL", "https://two.example");
    let oldest = ("LANGFUSE_HOST", "https://three.example");
    let blank = ("LANGFUSE_BASE_URL", "  ");
    for (env, host) in [
        (&[oldest, older, newest][..], "https://one.example"),
        (&[oldest, older], "https://two.example"),
        (&[oldest], "https://three.example"),
        (&[blank, oldest], "https://three.example"),
        (&[], "https://cloud.langfuse.com"),
    ] {
        let config = enabled(&from_env(with_keys(), env));
        assert_eq!(config.base_url(), format!("{host}"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_base_url_may_have_a_port_a_path_and_a_slash_at_its_end() {
    for (given, base_url) in [
        ("https://example.com/", "https://example.com"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("https://example.com/langfuse", "https://example.com/langfuse"),
        ("https://example.com/langfuse/", "https://example.com/langfuse"),
    ] {
        assert_eq!(enabled(&with_keys().base_url(given)).base_url(), base_url);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn white_space_around_a_value_does_not_count() {
    let options = Options::default()
        .keys(format!(" {PUBLIC_KEY}\n"), format!("\t{SECRET_KEY} "))
        .base_url(" https://example.com/\r\n")
        .with(Setting::Enabled, " true ")
        .with(Setting::Environment, " staging ")
        .with(Setting::FlushAt, " 7 ");
    let config = enabled(&options);
    assert_eq!(config.base_url(), "https://example.com");
    assert_eq!((config.environment(), config.flush_at()), (Some("staging"), 7));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_blank_value_is_as_good_as_none() {
    let options = with_keys().with(Setting::Release, " ").with(Setting::Timeout, "");
    assert_eq!((enabled(&options).release(), enabled(&options).timeout()), (None, secs(10)));
    let config = enabled(&from_env(options, &[("LANGFUSE_RELEASE", "v1"), ("LANGFUSE_TIMEOUT", "3")]));
    assert_eq!((config.release(), config.timeout()), (Some("v1"), secs(3)));
}

#[wasm_bindgen_test(unsupported = test)]
fn without_keys_tracing_is_disabled_and_says_which_one_is_missing() {
    for (options, missing) in [
        (Options::default(), "publicKey (LANGFUSE_PUBLIC_KEY)"),
        (Options::default().keys("", SECRET_KEY), "publicKey (LANGFUSE_PUBLIC_KEY)"),
        (Options::default().keys(PUBLIC_KEY, " "), "secretKey (LANGFUSE_SECRET_KEY)"),
        (Options::default().base_url("not a URL"), "publicKey (LANGFUSE_PUBLIC_KEY)"),
    ] {
        assert_eq!(disabled(&options), Some(missing));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn tracing_that_is_switched_off_is_disabled_whatever_else_is_set() {
    for off in ["false", "False", "FALSE", "0"] {
        let options = with_keys().base_url("not a URL").with(Setting::Enabled, off);
        assert_eq!(disabled(&options), None, "nothing is missing");
    }
    for on in ["true", "True", "TRUE", "1"] {
        enabled(&with_keys().with(Setting::Enabled, on));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_bad_value_is_an_error_that_names_the_option_and_its_variable_and_shows_no_secret() {
    const BAD: [(Setting, &str, &[&str]); 7] = [
        (
            Setting::PublicKey,
            "publicKey (LANGFUSE_PUBLIC_KEY) must be copied again",
            &["pk lf", "pk:lf", "pk\u{a0}lf", "pk\nlf", "schlüssel"],
        ),
        (
            Setting::SecretKey,
            "secretKey (LANGFUSE_SECRET_KEY) must be copied again",
            &["sk lf", "sk:lf", "sk\u{200b}lf", "sk\u{0}lf"],
        ),
        (
            Setting::BaseUrl,
            "baseUrl (LANGFUSE_BASE_URL) must be an http or https URL",
            &[
                "langfuse.example.com",
                "ftp://example.com",
                "https://",
                "https:///path",
                "https://user:password@example.com",
                "https://example.com?key=value",
                "https://example.com/#part",
                "https://exa mple.com",
                "https://exämple.com",
            ],
        ),
        (
            Setting::Enabled,
            "enabled (LANGFUSE_TRACING_ENABLED) must be true or false",
            &["yes", "off", "2", "truefalse"],
        ),
        (
            Setting::Timeout,
            "timeout (LANGFUSE_TIMEOUT) must be seconds above 0 and at most 86400",
            &[
                "0",
                "-5",
                "+5",
                "1e3",
                "five",
                "5s",
                "1.2.3",
                ".",
                "86401",
                "99999999999999999999",
                "NaN",
                "0.0001",
            ],
        ),
        (
            Setting::FlushAt,
            "flushAt (LANGFUSE_FLUSH_AT) must be a whole number above 0",
            &["0", "-1", "1.5", "ten", "4294967296"],
        ),
        (
            Setting::FlushInterval,
            "flushInterval (LANGFUSE_FLUSH_INTERVAL) must be 0 or seconds up to 86400",
            &["-1", "soon", "86401", "١"],
        ),
    ];
    for (setting, sentence, values) in BAD {
        for value in values {
            let error = with_keys().with(setting, *value).parse().expect_err(value);
            assert!(error.is_configuration() && !error.is_invalid_id());
            let (shown, debugged) = (error.to_string(), format!("{error:?}"));
            assert!(shown.starts_with(sentence), "{shown}");
            let words = shown.replace("https://cloud.langfuse.com", "");
            let is_secret = matches!(setting, Setting::PublicKey | Setting::SecretKey | Setting::BaseUrl);
            assert!(!is_secret || !words.contains(value), "{shown}");
            assert_eq!(shown, debugged);
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn seconds_are_read_to_the_millisecond() {
    for (text, parsed) in [
        ("1", secs(1)),
        ("86400", secs(86_400)),
        ("0.5", millis(500)),
        (".5", millis(500)),
        ("5.", secs(5)),
        ("0.001", millis(1)),
        ("1.2345", millis(1234)),
        ("007", secs(7)),
    ] {
        let config = enabled(&with_keys().with(Setting::Timeout, text));
        assert_eq!(config.timeout(), parsed, "{text}");
        assert_ne!(config.timeout(), Duration::ZERO);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_interval_of_0_is_none() {
    let config = enabled(&with_keys().with(Setting::FlushInterval, "0"));
    assert_eq!(config.flush_interval(), Duration::ZERO);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_release_is_the_one_that_a_build_has_left_unless_a_variable_or_an_option_says_it() {
    let own = ("LANGFUSE_RELEASE", "own");
    for (env, release) in [
        (&[("DRONE_COMMIT_SHA", "drone"), ("RENDER_GIT_COMMIT", "render"), own][..], Some("own")),
        (&[("DRONE_COMMIT_SHA", "drone"), ("RENDER_GIT_COMMIT", "render")], Some("render")),
        (&[("DRONE_COMMIT_SHA", "drone"), ("GITHUB_SHA", " "), ("LANGFUSE_RELEASE", "")], Some("drone")),
        (&[("GIT_COMMIT_SHA", "unknown")], None),
    ] {
        assert_eq!(enabled(&from_env(with_keys(), env)).release(), release);
        let options = with_keys().with(Setting::Release, "option");
        assert_eq!(enabled(&from_env(options, env)).release(), Some("option"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn debugging_never_shows_the_secret_key() {
    let options = with_keys();
    assert_eq!(format!("{options:?}"), "[PublicKey, SecretKey]");
    let setup = options.parse().unwrap();
    for debugged in [format!("{setup:?}"), format!("{setup:#?}"), format!("{:?}", enabled(&options))] {
        assert!(!debugged.contains(SECRET_KEY), "{debugged}");
        assert!(debugged.contains("[redacted]"), "{debugged}");
    }
}

fn with_keys() -> Options {
    Options::default().keys(PUBLIC_KEY, SECRET_KEY)
}

fn from_env(options: Options, env: &[(&str, &str)]) -> Options {
    options.or_env(&|name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

fn enabled(options: &Options) -> Config {
    match options.parse() {
        Ok(Setup::Enabled(config)) => *config,
        other => panic!("these options are good, but they give {other:?}"),
    }
}

fn disabled(options: &Options) -> Option<&'static str> {
    match options.parse() {
        Ok(Setup::Disabled { missing }) => missing,
        other => panic!("these options disable tracing, but they give {other:?}"),
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_may_have_arrived_is_sent_again_unless_told_otherwise() {
    let with = |value: &str| with_keys().with(Setting::Ambiguous, value);
    assert!(!enabled(&with_keys()).gives_up_ambiguous());
    assert!(!enabled(&with("retry")).gives_up_ambiguous());
    assert!(enabled(&with("give_up")).gives_up_ambiguous());
    let error = with("never").parse().unwrap_err();
    assert_eq!(error.message(), "ambiguous (LANGFUSE_AMBIGUOUS) must be retry or give_up");
}
