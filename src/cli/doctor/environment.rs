//! The environment variables, each by itself and as a whole.

use langfuse_edge::Options;
use langfuse_edge::config::{Setting, Setup};

use super::http::Keys;
use super::report::Verdict;

pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) state: State,
    /// Its value where that is no secret, or what is wrong with it.
    pub(super) note: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Set,
    Absent,
    Bad,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Absent => "absent",
            Self::Bad => "bad",
        }
    }
}

pub(super) struct Environment {
    pub(super) variables: Vec<Variable>,
    pub(super) verdict: Verdict,
    /// When its URL can be used, without a slash at the end.
    pub(super) server: Option<String>,
    /// When both are there.
    pub(super) keys: Option<Keys>,
    /// When a client can be made of it.
    pub(super) config: Option<Options>,
}

/// What stands for keys where they do not matter.
const ANY_KEYS: [&str; 2] = ["pk-lf-any", "sk-lf-any"];
const COMPRESSION: &str = "LANGFUSE_OTEL_COMPRESSION";

impl Environment {
    pub(super) fn examine(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let lookup = |name: &str| {
            let value = lookup(name)?;
            Some(value.trim_ascii().to_owned()).filter(|value| !value.is_empty())
        };
        let mut variables: Vec<_> = Setting::all().flat_map(|setting| of_setting(setting, &lookup)).collect();
        variables.push(compression(lookup(COMPRESSION)));
        let options = Options::default().or_env(&lookup);
        let server = server(&first(Setting::BaseUrl, &lookup).map(|(_, url)| url).unwrap_or_default());
        let is_bad = |setting: Setting| {
            let mut of_setting = variables.iter().filter(|known| setting.variables().contains(&known.name));
            of_setting.any(|variable| variable.state == State::Bad)
        };
        let key = |setting| first(setting, &lookup).filter(|_| !is_bad(setting)).map(|(_, value)| value);
        let keys = key(Setting::PublicKey)
            .zip(key(Setting::SecretKey))
            .map(|(public, secret)| Keys { public, secret });
        let verdict = verdict(&variables, &options, &lookup);
        let config = keys.is_some().then_some(options).filter(|_| verdict.is_ok());
        Self { variables, verdict, server, keys, config }
    }
}

fn verdict(variables: &[Variable], options: &Options, lookup: &dyn Fn(&str) -> Option<String>) -> Verdict {
    let bad: Vec<&str> = variables
        .iter()
        .filter(|variable| variable.state == State::Bad)
        .map(|variable| variable.name)
        .collect();
    if !bad.is_empty() {
        return Verdict::failed(
            format!("{} cannot be used", bad.join(", ")),
            "correct what is marked as bad; a client refuses to start with it",
        );
    }
    match options.parse() {
        Err(error) => {
            Verdict::failed(error.message(), "correct the variable; a client refuses to start with it")
        }
        Ok(Setup::Disabled { missing: None }) => Verdict::failed(
            "tracing is switched off by LANGFUSE_TRACING_ENABLED",
            "set it to true, or unset it",
        ),
        Ok(Setup::Disabled { missing: Some(missing) }) => Verdict::failed(
            format!("tracing is disabled because {missing} is not set"),
            "set it to the key of the project's settings in Langfuse, where your program runs",
        ),
        Ok(Setup::Enabled(_)) => {
            let share = first(Setting::SampleRate, lookup).and_then(|(_, rate)| rate.parse::<f64>().ok());
            if share == Some(0.0) {
                return Verdict::failed("LANGFUSE_SAMPLE_RATE keeps no trace", "set it to 1, or unset it");
            }
            let set = variables.iter().filter(|variable| variable.state == State::Set).count();
            let share =
                share.filter(|share| *share < 1.0).map(|share| format!("; {share} of all traces are kept"));
            Verdict::ok(format!(
                "{set} of {} variables are set{}",
                variables.len(),
                share.unwrap_or_default()
            ))
        }
    }
}

/// The URL of a server without a slash at the end, when a client takes it.
pub(super) fn server(url: &str) -> Option<String> {
    let [public_key, secret_key] = ANY_KEYS;
    match Options::default().keys(public_key, secret_key).base_url(url).parse() {
        Ok(Setup::Enabled(config)) => Some(config.base_url().to_owned()),
        Ok(Setup::Disabled { .. }) | Err(_) => None,
    }
}

/// The variable that counts, with its value.
fn first(setting: Setting, lookup: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    setting.variables().iter().find_map(|name| Some((*name, lookup(name)?)))
}

fn of_setting(setting: Setting, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Variable> {
    let counts = first(setting, lookup);
    let examine = |&name: &&'static str| match (lookup(name), &counts) {
        (None, _) => Variable { name, state: State::Absent, note: String::new() },
        (Some(_), Some((other, _))) if *other != name => {
            Variable { name, state: State::Set, note: format!("not used: {other} is set, too") }
        }
        (Some(value), _) => match problem(setting, name, &value) {
            Some(note) => Variable { name, state: State::Bad, note },
            None => Variable { name, state: State::Set, note: shown(setting, value) },
        },
    };
    setting.variables().iter().map(examine).collect()
}

/// What is wrong with a value, without the value.
fn problem(setting: Setting, name: &str, value: &str) -> Option<String> {
    let other = match setting {
        Setting::PublicKey => "sk-lf-",
        Setting::SecretKey => "pk-lf-",
        _ => "",
    };
    if !other.is_empty() && value.starts_with(other) {
        return Some(format!("{name} begins with {other}: are the two keys swapped?"));
    }
    let [public_key, secret_key] = ANY_KEYS;
    let alone = Options::default().keys(public_key, secret_key).with(setting, value);
    alone.parse().err().map(|error| error.message().to_owned())
}

/// Of a key nothing but the prefix that every key has.
fn shown(setting: Setting, value: String) -> String {
    let prefix = match setting {
        Setting::PublicKey => "pk-lf-",
        Setting::SecretKey => "sk-lf-",
        _ => return value,
    };
    if value.starts_with(prefix) {
        format!("{prefix}…")
    } else {
        format!("does not begin with {prefix}, as keys of Langfuse usually do")
    }
}

/// No setting of the core's: only where bodies are compressed it is read.
fn compression(value: Option<String>) -> Variable {
    let (state, note) = match value.as_deref() {
        None => (State::Absent, String::new()),
        Some(how @ ("gzip" | "none")) => (State::Set, how.to_owned()),
        Some(_) => (State::Bad, format!("{COMPRESSION} must be gzip or none")),
    };
    Variable { name: COMPRESSION, state, note }
}
