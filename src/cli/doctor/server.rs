//! What the server is, whether it knows the keys, and what time it has.

use super::http::{Answer, Failure, Http, Keys};
use super::network::ms;
use super::report::Verdict;

/// Where a project of Langfuse Cloud may be.
pub(super) const CLOUD: &str = "https://cloud.langfuse.com,https://us.cloud.langfuse.com,https://jp.cloud.langfuse.com,https://hipaa.cloud.langfuse.com";
/// The first that takes OpenTelemetry's traces.
const OLDEST_MAJOR: u32 = 3;
/// Less is of no consequence.
const MOST_SKEW_MS: u64 = 30_000;

/// The verdict, and whether what answers is a Langfuse server that can be asked more.
pub(super) async fn version(http: &Http, health: &Result<Answer, Failure>) -> (Verdict, bool) {
    let answer = match health {
        Ok(answer) => answer,
        Err(failure) => {
            let fix =
                "check that LANGFUSE_BASE_URL leads to Langfuse, with http or https as the port speaks it";
            return (Verdict::failed(format!("no answer: {}", failure.words), fix), false);
        }
    };
    let Answer { status, body, location, elapsed, .. } = answer;
    let version = body["version"].as_str();
    let verdict = match (*status, version) {
        (200, Some(version)) => match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major < OLDEST_MAJOR => Verdict::failed(
                format!("Langfuse {version} takes no OpenTelemetry traces"),
                "update the server to Langfuse 4, or at least 3",
            ),
            _ => {
                let mode = write_mode(http).await;
                Verdict::ok(format!("Langfuse {version}, write mode {mode} ({})", ms(*elapsed)))
            }
        },
        (300..=399, _) => Verdict::failed(
            format!("it redirects to {}", location.as_deref().unwrap_or("nowhere")),
            "set LANGFUSE_BASE_URL to where it leads: redirects are not followed, because a POST would lose its body",
        ),
        (500..=599, _) => Verdict::failed(
            format!("it answers {status}"),
            "the server or its database is not ready: look at its logs, or try again later",
        ),
        _ => Verdict::failed(
            format!(
                "what answers is no Langfuse server: /api/public/health gives {status} without a version"
            ),
            "set LANGFUSE_BASE_URL to the address of Langfuse in the browser, with its path if it has one, without /api",
        ),
    };
    (verdict, *status == 200 && version.is_some())
}

/// A server that takes traces by OpenTelemetry only says so on the routes that it has no more, before it looks at keys.
async fn write_mode(http: &Http) -> &'static str {
    match http.get("traces?limit=1", None).await {
        Ok(Answer { status: 404, body, .. })
            if body["message"].as_str().is_some_and(|message| message.contains("events_only")) =>
        {
            "events_only"
        }
        Ok(Answer { status: 401 | 403, .. }) => "legacy or dual",
        _ => "unknown",
    }
}

pub(super) async fn keys(http: &Http, keys: &Keys, regions: &[String]) -> Verdict {
    let answer = match http.get("projects", Some(keys)).await {
        Ok(answer) => answer,
        Err(failure) => {
            return Verdict::failed(
                format!("no answer: {}", failure.words),
                "try again, or with a longer --timeout",
            );
        }
    };
    match answer.status {
        200 => match answer.body["data"][0]["name"].as_str() {
            Some(project) => Verdict::ok(format!("of the project {project}")),
            None => {
                Verdict::failed("they belong to no project", "make new keys in the settings of a project")
            }
        },
        401 => unknown_here(http, keys, regions).await,
        403 => Verdict::failed(
            "they may not be used for a project (403)",
            "use keys of the settings of a project, not of an organization",
        ),
        status => Verdict::failed(
            format!("the server answers {status}"),
            "look at the server's logs, or try again later",
        ),
    }
}

async fn unknown_here(http: &Http, keys: &Keys, regions: &[String]) -> Verdict {
    const COPY: &str = "copy both keys again from the project's settings";
    let unknown = "the server does not know them (401)";
    if regions.is_empty() {
        let fix = format!(
            "{COPY}; keys are good for one region only, and --regions tries the others of Langfuse Cloud"
        );
        return Verdict::failed(unknown, fix);
    }
    let others: Vec<_> = regions.iter().filter(|region| **region != http.base_url).collect();
    for region in &others {
        if let Ok(Answer { status: 200, .. }) = http.get_from(region, "projects", Some(keys)).await {
            let why = format!("{unknown}, but {region} does");
            return Verdict::failed(why, format!("set LANGFUSE_BASE_URL={region}"));
        }
    }
    let others: Vec<_> = others.into_iter().map(String::as_str).collect();
    Verdict::failed(format!("{unknown}, and none of the others does: {}", others.join(", ")), COPY)
}

pub(super) fn clock(health: &Result<Answer, Failure>) -> Verdict {
    let Some(ahead) = health.as_ref().ok().and_then(|answer| answer.clock_ahead) else {
        return Verdict::not_run("the server tells no time");
    };
    let seconds = ahead.unsigned_abs() / 1000;
    if ahead.unsigned_abs() <= MOST_SKEW_MS {
        return Verdict::ok("agrees with the server's");
    }
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    Verdict::failed(
        format!("this machine's clock is {seconds} s {direction} the server's"),
        "let NTP set it: observations are shown at the time that this machine has, and searches by time miss them",
    )
}
