//! The accounts as they must be: what became of every record, told apart by its id, where the exporter counts.

use std::time::Duration;

use langfuse_edge::exporter::{FlushId, LeaseId};
use langfuse_edge::retry::Outcome;
use langfuse_edge::{FlushReport, Stats};

use crate::host::{millis, secs};
use crate::records::hex;

/// Beyond an attempt's timeout.
const REQUESTS_IN_VAIN: u64 = 40;
const LEASE_GRACE: Duration = secs(2);
const FORGET_AFTER: Duration = secs(30);
const MISCONFIGURED_PAUSE: Duration = secs(30);
const BACKOFF: (Duration, Duration) = (millis(50), secs(10));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not in flight; with the lease it was last sent under.
    Waiting(Option<LeaseId>),
    Leased,
    Delivered,
    Rejected,
    Dropped,
}

impl Fate {
    fn is_open(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Leased)
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) fate: Fate,
    pub(super) may_lose_payload: bool,
    /// Larger than the note that it is left out.
    pub(super) has_large_payload: bool,
    pub(super) is_poisonous: bool,
    /// The server has it, whether or not the client heard so.
    pub(super) is_acknowledged: bool,
    /// An attempt ended without the client knowing whether it arrived, so that another may double it.
    pub(super) may_be_doubled: bool,
}

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    flush: FlushId,
    expires: Duration,
    ids: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Flush {
    pub(super) id: FlushId,
    pub(super) started: Duration,
    pub(super) deadline: Duration,
    overdue_since: Option<Duration>,
    covered: Vec<u64>,
    told_drops: u64,
    attempts: u64,
    requests: u64,
    /// Outcomes that delivered nothing.
    in_vain: u64,
    ambiguous: u64,
    bytes: u64,
}

impl Flush {
    /// It has asked in vain so often that it leaves the rest to the next one.
    pub(super) fn is_weary(&self) -> bool {
        self.in_vain >= REQUESTS_IN_VAIN
    }
}

/// How often what is worth simulating came up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) rejected: u64,
    pub(super) dropped: u64,
    pub(super) retained: u64,
    pub(super) expired: u64,
    pub(super) settled_late: u64,
    pub(super) doubled: u64,
    pub(super) cut: u64,
    pub(super) forgotten: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
        self.retained += other.retained;
        self.expired += other.expired;
        self.settled_late += other.settled_late;
        self.doubled += other.doubled;
        self.cut += other.cut;
        self.forgotten += other.forgotten;
    }

    pub(super) fn least(&self) -> u64 {
        let Self { delivered, rejected, dropped, retained, expired, settled_late, doubled, cut, forgotten } =
            *self;
        [delivered, rejected, dropped, retained, expired, settled_late, doubled, cut, forgotten]
            .into_iter()
            .min()
            .unwrap_or_default()
    }
}

/// When requests may begin. Times are those of a clock that never runs backwards.
#[derive(Debug, Default)]
struct Pause {
    earliest: Duration,
    latest: Duration,
    named: Duration,
    one_at_a_time: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By id, which counts from 1.
    pub(super) records: Vec<Entry>,
    leases: Vec<Lease>,
    pub(super) flushes: Vec<Flush>,
    untold_drops: u64,
    pause: Pause,
    pub(super) tally: Tally,
}

impl Ledger {
    pub(super) fn waiting(&self) -> impl Iterator<Item = u64> {
        (1..).zip(&self.records).filter(|(_, entry)| matches!(entry.fate, Fate::Waiting(_))).map(|(id, _)| id)
    }

    pub(super) fn entry(&mut self, id: u64) -> &mut Entry {
        &mut self.records[id as usize - 1]
    }

    pub(super) fn flush(&self, id: FlushId) -> Option<&Flush> {
        self.flushes.iter().find(|flush| flush.id == id)
    }

    pub(super) fn has_in_flight(&self, flush: FlushId) -> bool {
        self.leases.iter().any(|lease| lease.flush == flush)
    }

    pub(super) fn has_waiting(&self, flush: &Flush) -> bool {
        self.waiting().next().is_some_and(|oldest| flush.covered.last().is_some_and(|last| oldest <= *last))
    }

    pub(super) fn is_all_settled(&self, flush: &Flush) -> bool {
        !flush.covered.iter().any(|id| self.fate(*id).is_open())
    }

    pub(super) fn is_nothing_in_flight(&self) -> bool {
        self.leases.is_empty()
    }

    pub(super) fn may_send(&self, now: Duration) -> bool {
        now >= self.pause.earliest.max(self.pause.named) && self.is_turn()
    }

    pub(super) fn must_send(&self, now: Duration) -> bool {
        now >= self.pause.latest.max(self.pause.named) && self.is_turn()
    }

    fn is_turn(&self) -> bool {
        !self.pause.one_at_a_time || self.leases.is_empty()
    }

    fn fate(&self, id: u64) -> Fate {
        self.records[id as usize - 1].fate
    }

    pub(super) fn drop_record(&mut self, id: u64) {
        self.settle(id, Fate::Dropped);
        if !self.flushes.iter().any(|flush| flush.covered.contains(&id)) {
            self.untold_drops += 1;
        }
    }

    fn settle(&mut self, id: u64, fate: Fate) {
        let entry = self.entry(id);
        assert!(entry.fate.is_open(), "record {id} is {:?} and cannot become {fate:?}", entry.fate);
        if fate == Fate::Delivered {
            assert!(
                entry.is_acknowledged,
                "record {id} counts as delivered, but the server does not have it"
            );
        }
        entry.fate = fate;
    }

    pub(super) fn begin_flush(&mut self, id: FlushId, budget: Duration, now: Duration) {
        for flush in self.flushes.iter_mut().filter(|flush| flush.deadline <= now) {
            flush.overdue_since.get_or_insert(now);
        }
        let is_dead = |flush: &Flush| flush.overdue_since.is_some_and(|since| since + FORGET_AFTER <= now);
        let (forgotten, known): (Vec<_>, Vec<_>) = self.flushes.drain(..).partition(is_dead);
        self.flushes = known;
        // Nobody has read what a dead flush had to tell.
        for flush in forgotten {
            self.tally.forgotten += 1;
            let dropped = flush.covered.iter().filter(|id| self.fate(**id) == Fate::Dropped).count();
            self.untold_drops += flush.told_drops + dropped as u64;
        }
        let covered = (1..).zip(&self.records).filter(|(_, entry)| entry.fate.is_open());
        self.flushes.push(Flush {
            id,
            started: now,
            deadline: now + budget,
            overdue_since: None,
            covered: covered.map(|(id, _)| id).collect(),
            told_drops: std::mem::take(&mut self.untold_drops),
            attempts: 0,
            requests: 0,
            in_vain: 0,
            ambiguous: 0,
            bytes: 0,
        });
    }

    /// What any poll does first.
    pub(super) fn reclaim(&mut self, now: Duration) {
        let (expired, live): (Vec<_>, Vec<_>) = self.leases.drain(..).partition(|lease| lease.expires <= now);
        self.leases = live;
        for lease in expired {
            self.tally.expired += 1;
            self.count(lease.flush, |flush| flush.ambiguous += 1);
            self.doubt(&lease.ids);
            self.restore(lease.id, &lease.ids);
        }
    }

    pub(super) fn lease(
        &mut self,
        id: LeaseId,
        flush: FlushId,
        ids: &[u64],
        bytes: usize,
        expires: Duration,
    ) {
        for id in ids {
            let entry = self.entry(*id);
            assert!(matches!(entry.fate, Fate::Waiting(_)), "record {id} is sent but {:?}", entry.fate);
            entry.fate = Fate::Leased;
        }
        self.count(flush, |flush| {
            flush.attempts += 1;
            flush.bytes += bytes as u64;
        });
        let expires = expires + LEASE_GRACE;
        self.leases.push(Lease { id, flush, expires, ids: ids.to_vec() });
    }

    /// The client may not know whether these arrived.
    pub(super) fn doubt(&mut self, ids: &[u64]) {
        for id in ids {
            self.entry(*id).may_be_doubled = true;
        }
    }

    pub(super) fn acknowledge(&mut self, ids: &[u64]) {
        for id in ids {
            let entry = self.entry(*id);
            let is_double = std::mem::replace(&mut entry.is_acknowledged, true);
            assert!(!is_double || entry.may_be_doubled, "record {id} was sent again without need");
            self.tally.doubled += u64::from(is_double);
        }
    }

    /// Takes in an outcome the client was told. `rejected` is how many records the client gave up on for it.
    pub(super) fn hear(&mut self, id: LeaseId, outcome: &Outcome, rejected: u64, now: Duration) {
        let Some(place) = self.leases.iter().position(|lease| lease.id == id) else {
            assert_eq!(rejected, 0, "a late answer refuses nothing");
            if matches!(outcome, Outcome::Response { status: 200..=299, .. }) {
                let late: Vec<_> =
                    self.waiting().filter(|it| self.fate(*it) == Fate::Waiting(Some(id))).collect();
                self.tally.settled_late += late.len() as u64;
                late.into_iter().for_each(|id| self.settle(id, Fate::Delivered));
            }
            return;
        };
        let lease = self.leases.remove(place);
        self.count(lease.flush, |flush| match outcome {
            Outcome::Response { .. } => flush.requests += 1,
            Outcome::Failed { ambiguous } => flush.ambiguous += u64::from(*ambiguous),
        });
        if !matches!(outcome, Outcome::Response { status: 200..=299, .. }) {
            self.count(lease.flush, |flush| flush.in_vain += 1);
        }
        match outcome {
            Outcome::Response { status: 200..=299, .. } => {
                lease.ids.iter().for_each(|id| self.settle(*id, Fate::Delivered));
                self.resume();
            }
            Outcome::Response { status: 400 | 413 | 422, .. } if lease.ids.len() > 1 => {
                self.restore(id, &lease.ids);
                self.resume();
            }
            Outcome::Response { status: status @ (400 | 413 | 422), .. } => {
                let record = lease.ids[0];
                let entry = self.entry(record);
                let may_lose_payload = std::mem::take(&mut entry.may_lose_payload);
                // Leaving out a small one may gain nothing.
                let is_cut = *status == 413 && may_lose_payload && (entry.has_large_payload || rejected == 0);
                if is_cut {
                    self.tally.cut += 1;
                    self.restore(id, &[record]);
                } else {
                    self.settle(record, Fate::Rejected);
                }
                self.resume();
            }
            Outcome::Response { status: 0 | 300..=399 | 401 | 403 | 404, .. } => {
                let end = now + MISCONFIGURED_PAUSE;
                self.pause = Pause { earliest: end, latest: end, one_at_a_time: true, ..self.pause };
                self.restore(id, &lease.ids);
            }
            Outcome::Response { retry_after, .. } => {
                if let Some(after) = retry_after {
                    self.pause.named = self.pause.named.max(now + *after);
                }
                self.back_off(now);
                self.restore(id, &lease.ids);
            }
            Outcome::Failed { .. } => {
                self.back_off(now);
                self.restore(id, &lease.ids);
            }
        }
    }

    fn resume(&mut self) {
        self.pause = Pause { named: self.pause.named, ..Pause::default() };
    }

    fn back_off(&mut self, now: Duration) {
        self.pause.earliest = self.pause.earliest.max(now + BACKOFF.0);
        self.pause.latest = self.pause.latest.max(now + BACKOFF.1);
        self.pause.one_at_a_time = false;
    }

    fn restore(&mut self, lease: LeaseId, ids: &[u64]) {
        for id in ids {
            self.entry(*id).fate = Fate::Waiting(Some(lease));
        }
    }

    fn count(&mut self, flush: FlushId, count: impl FnOnce(&mut Flush)) {
        if let Some(flush) = self.flushes.iter_mut().find(|known| known.id == flush) {
            count(flush);
        }
    }

    /// The flush is over: its report must say what the ledger says.
    pub(super) fn close(&mut self, id: FlushId, report: &FlushReport, now: Duration) {
        let place = self.flushes.iter().position(|flush| flush.id == id).expect("the caller has looked");
        let flush = self.flushes.remove(place);
        let with = |wanted: fn(Fate) -> bool| {
            let covered = flush.covered.iter().copied();
            covered.filter(|id| wanted(self.fate(*id))).collect::<Vec<_>>()
        };
        let delivered = with(|fate| fate == Fate::Delivered).len() as u64;
        let mut rejected: Vec<_> = with(|fate| fate == Fate::Rejected).into_iter().map(hex).collect();
        let dropped = flush.told_drops + with(|fate| fate == Fate::Dropped).len() as u64;
        let retained = with(Fate::is_open).len() as u64;
        let is_ok = delivered == flush.covered.len() as u64 && dropped == 0;
        assert_eq!(
            (report.delivered, report.dropped, report.retained, report.ok),
            (delivered, dropped, retained, is_ok),
            "delivered, dropped, retained and ok are not as the ledger says: {report:?}"
        );
        let mut told: Vec<_> = report.rejected.iter().map(|rejection| rejection.id.clone()).collect();
        told.sort();
        rejected.sort();
        assert_eq!(told, rejected, "the rejected records are not as the ledger says");
        assert_eq!(
            (report.attempts, report.requests, report.ambiguous, report.bytes),
            (flush.attempts, flush.requests, flush.ambiguous, flush.bytes),
            "attempts, requests, ambiguous and bytes are not as the ledger says: {report:?}"
        );
        assert_eq!(report.drop_reasons.iter().map(|(_, count)| count).sum::<u64>(), report.dropped);
        assert_eq!(u128::from(report.duration_ms), (now - flush.started).as_millis());
        self.tally.retained += retained;
    }

    /// Every record is in exactly one place; the client's totals say the same.
    pub(super) fn check(&self, stats: &Stats) {
        let count =
            |wanted: fn(Fate) -> bool| self.records.iter().filter(|entry| wanted(entry.fate)).count() as u64;
        let recorded = self.records.len() as u64;
        assert_eq!(
            (stats.recorded, stats.delivered, stats.rejected, stats.dropped, stats.queued, stats.leased),
            (
                recorded,
                count(|fate| fate == Fate::Delivered),
                count(|fate| fate == Fate::Rejected),
                count(|fate| fate == Fate::Dropped),
                count(|fate| matches!(fate, Fate::Waiting(_))),
                count(|fate| fate == Fate::Leased),
            ),
            "recorded, delivered, rejected, dropped, queued and leased are not as the ledger says"
        );
    }
}
