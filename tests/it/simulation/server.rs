//! A server, and an overflow, that remember what they have.

use langfuse_edge::exporter::LeaseId;
use langfuse_edge::retry::{Outcome, Verdict, parse_retry_after};
use langfuse_edge::wire::RecordKind;

use super::ledger::{Ledger, MESSAGE};

/// What the server does with a request, and the overflow with a message: that accepts what is not refused or lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// What a sound server says: 413 above its limit, 400 to anything poisonous, else 200; of scores 207, with the 400
    /// for the poisonous alone.
    Honest,
    Status(u16, Option<&'static str>),
    /// 207, with these statuses for its events in turn; one with the status 0 is passed over.
    Verdicts([u16; 4], Option<&'static str>),
    /// The connection is refused, so nothing has arrived.
    Refused,
    /// The connection is lost, after the body was taken in or before.
    Lost {
        has_arrived: bool,
    },
}

/// A request on its way or behind it.
pub(super) struct Sent {
    pub(super) lease: LeaseId,
    pub(super) kind: RecordKind,
    pub(super) ids: Vec<u64>,
    pub(super) body_len: usize,
    pub(super) is_overflow: bool,
    pub(super) answer: Option<Answered>,
}

#[derive(Clone)]
pub(super) enum Answered {
    Server(Outcome),
    /// Whether it accepts.
    Overflow(bool),
}

pub(super) struct Server {
    /// Of a body, in bytes.
    pub(super) limit: usize,
}

impl Server {
    /// What becomes of a request.
    pub(super) fn take_in(&self, sent: &Sent, answer: Answer, ledger: &mut Ledger) -> Outcome {
        let is_poisonous = |id: &u64| ledger.entry(*id).is_poisonous;
        let (status, retry_after) = match answer {
            Answer::Honest if sent.body_len > self.limit => (413, None),
            Answer::Honest if sent.kind == RecordKind::Score => {
                let statuses = sent.ids.iter().map(|id| if is_poisonous(id) { 400 } else { 201 }).collect();
                return judge(sent, statuses, None, ledger);
            }
            Answer::Honest if sent.ids.iter().any(is_poisonous) => (400, None),
            Answer::Honest => (200, None),
            Answer::Verdicts(statuses, retry_after) if sent.kind == RecordKind::Score => {
                let statuses = statuses.into_iter().cycle().take(sent.ids.len()).collect();
                return judge(sent, statuses, retry_after, ledger);
            }
            Answer::Verdicts(_, retry_after) => (207, retry_after),
            Answer::Status(status, retry_after) => (status, retry_after),
            Answer::Refused => return Outcome::Failed { ambiguous: false },
            Answer::Lost { has_arrived } => {
                if has_arrived {
                    ledger.acknowledge(&sent.ids);
                }
                return Outcome::Failed { ambiguous: true };
            }
        };
        // A 207 that says nothing of a score has not taken it.
        if status == 200 || status == 207 && sent.kind == RecordKind::Observation {
            ledger.acknowledge(&sent.ids);
        }
        response(status, retry_after, Vec::new())
    }
}

/// A 207.
fn judge(sent: &Sent, statuses: Vec<u16>, retry_after: Option<&str>, ledger: &mut Ledger) -> Outcome {
    let judged = || sent.ids.iter().copied().zip(statuses.iter().copied());
    let accepted: Vec<_> = judged().filter(|(_, status)| *status / 100 == 2).map(|(id, _)| id).collect();
    let verdict = |id: String, status| Verdict { id, status, message: MESSAGE.to_owned() };
    let named = judged()
        .filter(|(_, status)| *status > 0)
        .map(|(id, status)| verdict(ledger.entry(id).event.clone().expect("it has travelled"), status));
    // In any order, and with an event that nobody has sent.
    let mut verdicts: Vec<_> = named.collect();
    verdicts.reverse();
    verdicts.push(verdict("0".repeat(16), 201));
    ledger.acknowledge(&accepted);
    response(207, retry_after, verdicts)
}

pub(super) fn response(status: u16, retry_after: Option<&str>, verdicts: Vec<Verdict>) -> Outcome {
    let retry_after = retry_after.and_then(|value| parse_retry_after(value, |_| None));
    Outcome::Response { status, retry_after, message: MESSAGE.to_owned(), verdicts }
}

/// Whether the overflow accepts a message.
pub(super) fn take_over(sent: &Sent, answer: Answer, ledger: &mut Ledger) -> bool {
    let is_accepted = match answer {
        Answer::Honest | Answer::Verdicts(..) => true,
        Answer::Status(..) | Answer::Refused => false,
        Answer::Lost { has_arrived } => has_arrived,
    };
    if is_accepted {
        ledger.acknowledge(&sent.ids);
    }
    is_accepted
}
