//! Whether what was delivered can be read.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::delivery::Sent;
use super::http::{Http, Keys};
use super::network::ms;
use super::report::Verdict;

/// Reading is limited to 30 requests a minute on the smallest plan.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn check(http: &Http, keys: &Keys, sent: &Sent, longest: Duration) -> Verdict {
    let start = Instant::now();
    let deadline = start + longest;
    let path = format!("v2/observations?traceId={}&limit=10", sent.context.trace_id.to_hex());
    let id = sent.context.observation_id.to_hex();
    let mut pause = FIRST_PAUSE;
    let mut last = "it is not there".to_owned();
    while let Ok(answer) = timeout_at(deadline, http.get(&path, Some(keys))).await {
        match answer {
            Ok(answer) if answer.status == 200 => {
                let rows = answer.body["data"].as_array().map_or(&[][..], Vec::as_slice);
                if rows.iter().any(|row| row["id"] == id.as_str()) {
                    return Verdict::ok(format!("readable {} after it was delivered", ms(start.elapsed())));
                }
                last = "it is not there".to_owned();
            }
            Ok(answer) if answer.status == 404 => {
                return Verdict::not_run(
                    "this server has no GET /api/public/v2/observations; look for the trace in the browser",
                );
            }
            Ok(answer) => last = format!("reading answers {}", answer.status),
            Err(failure) => last = format!("reading fails: {}", failure.words),
        }
        if timeout_at(deadline, sleep(pause)).await.is_err() {
            break;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Verdict::failed(
        format!("delivered, but not readable within {}: {last}", ms(longest)),
        "the server has the trace and is slow to show it: look at its worker and queue if it is yours, or try a longer --wait",
    )
}
