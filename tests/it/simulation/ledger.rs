//! The accounts as they must be: what became of every record, told apart by its id, where the exporter counts.

use std::time::Duration;

use langfuse_edge::exporter::{FlushId, LeaseId, Settings};
use langfuse_edge::retry::Outcome;
use langfuse_edge::wire::RecordKind;
use langfuse_edge::{DropReason, DropReasons, FlushReport, Stats};

use super::entry::{Entry, Fate};
use super::lane::Lane;
use super::tally::Tally;
use crate::host::{millis, secs};

/// The server's words, whatever it refuses.
pub(super) const MESSAGE: &str = "as the server pleases";
const REQUESTS_IN_VAIN: u64 = 40;
/// Beyond an attempt's timeout.
const LEASE_GRACE: Duration = secs(2);
const FORGET_AFTER: Duration = secs(30);
/// What the overflow gets of a flush's time, and at most a quarter.
const OVERFLOW_TIME: Duration = secs(2);
/// An attempt with less time than this is not begun.
const SHORTEST_ATTEMPT: Duration = millis(20);

pub(super) const KINDS: [RecordKind; 2] = [RecordKind::Observation, RecordKind::Score];

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    flush: FlushId,
    kind: RecordKind,
    expires: Duration,
    body_len: usize,
    ids: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Flush {
    pub(super) id: FlushId,
    pub(super) started: Duration,
    /// The time left after this belongs to the overflow.
    pub(super) sends_until: Duration,
    pub(super) deadline: Duration,
    /// The traces it is of; `None` is all.
    pub(super) traces: Option<Vec<u8>>,
    /// The bytes of a message to the overflow, until that has refused one.
    pub(super) overflow: Option<usize>,
    is_last: bool,
    overdue_since: Option<Duration>,
    covered: Vec<u64>,
    told_drops: DropReasons,
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

    pub(super) fn has_time_to_send(&self, now: Duration) -> bool {
        self.sends_until.saturating_sub(now) >= SHORTEST_ATTEMPT
    }

    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.deadline.saturating_sub(now) < SHORTEST_ATTEMPT
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    settings: Settings,
    /// By id, which counts from 1.
    pub(super) records: Vec<Entry>,
    /// One for each of `KINDS`.
    lanes: [Lane; 2],
    leases: Vec<Lease>,
    flushes: Vec<Flush>,
    untold_drops: DropReasons,
    /// With an exporter that this one replaces.
    lost: u64,
    last_group: u64,
    pub(super) tally: Tally,
}

impl Ledger {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            records: Vec::new(),
            lanes: KINDS.map(|_| Lane::new(settings.batch_bytes)),
            leases: Vec::new(),
            flushes: Vec::new(),
            untold_drops: DropReasons::default(),
            lost: 0,
            last_group: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn entry(&self, id: u64) -> &Entry {
        &self.records[id as usize - 1]
    }

    pub(super) fn entry_mut(&mut self, id: u64) -> &mut Entry {
        &mut self.records[id as usize - 1]
    }

    pub(super) fn flush(&self, id: FlushId) -> Option<&Flush> {
        self.flushes.iter().find(|flush| flush.id == id)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = u64> {
        (1..).zip(&self.records).filter(|(_, entry)| entry.fate.is_waiting()).map(|(id, _)| id)
    }

    /// What a request of this kind may take of what waits, in order: of a scoped flush its own records first.
    pub(super) fn waiting_for(&self, flush: &Flush, kind: RecordKind) -> Vec<u64> {
        let mut own = self.own_waiting(flush, kind);
        let others = self.waiting().filter(|id| self.entry(*id).kind == kind);
        if flush.traces.is_none() {
            return others.collect();
        }
        let others: Vec<_> = others.filter(|id| !own.contains(id)).collect();
        own.extend(others);
        own
    }

    /// What waits and is covered.
    pub(super) fn own_waiting(&self, flush: &Flush, kind: RecordKind) -> Vec<u64> {
        let is_waiting = |id: &u64| {
            let entry = self.entry(*id);
            entry.kind == kind && entry.fate.is_waiting()
        };
        flush.covered.iter().copied().filter(is_waiting).collect()
    }

    pub(super) fn has_waiting(&self, flush: &Flush, kind: RecordKind) -> bool {
        flush
            .covered
            .iter()
            .map(|id| self.entry(*id))
            .any(|entry| entry.kind == kind && entry.fate.is_waiting())
    }

    pub(super) fn has_in_flight(&self, flush: FlushId) -> bool {
        self.leases.iter().any(|lease| lease.flush == flush)
    }

    pub(super) fn is_nothing_in_flight(&self) -> bool {
        self.leases.is_empty()
    }

    pub(super) fn is_all_settled(&self, flush: &Flush) -> bool {
        !flush.covered.iter().any(|id| self.entry(*id).fate.is_open())
    }

    pub(super) fn lane(&mut self, kind: RecordKind) -> &mut Lane {
        &mut self.lanes[kind as usize]
    }

    pub(super) fn may_send(&self, kind: RecordKind, now: Duration) -> bool {
        let lane = &self.lanes[kind as usize];
        now >= lane.opens_from() && self.is_turn(lane, kind)
    }

    pub(super) fn must_send(&self, kind: RecordKind, now: Duration) -> bool {
        let lane = &self.lanes[kind as usize];
        now >= lane.opens_by() && self.is_turn(lane, kind)
    }

    fn is_turn(&self, lane: &Lane, kind: RecordKind) -> bool {
        !lane.is_closed() || !self.leases.iter().any(|lease| lease.kind == kind)
    }

    /// The earliest and the latest time for which a flush may wait to send what waits for its turn.
    pub(super) fn opening(&self, flush: &Flush) -> Option<(Duration, Duration)> {
        let waited_for = KINDS.into_iter().filter(|kind| self.has_waiting(flush, *kind));
        let lanes = waited_for.map(|kind| &self.lanes[kind as usize]).filter(|lane| !lane.is_closed());
        lanes.map(|lane| (lane.opens_from(), lane.opens_by())).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    pub(super) fn lose(&mut self, records: u64) {
        self.lost += records;
        self.untold_drops.state_lost += records;
    }

    pub(super) fn drop_record(&mut self, id: u64, reason: DropReason) {
        self.settle(id, Fate::Dropped(reason));
        if !self.flushes.iter().any(|flush| flush.covered.contains(&id)) {
            count(&mut self.untold_drops, reason);
        }
        *match reason {
            DropReason::Ambiguous => &mut self.tally.given_up,
            DropReason::Expired => &mut self.tally.grown_old,
            DropReason::Shutdown => &mut self.tally.shut_down,
            _ => return,
        } += 1;
    }

    fn settle(&mut self, id: u64, fate: Fate) {
        let entry = self.entry_mut(id);
        assert!(entry.fate.is_open(), "record {id} is {:?} and cannot become {fate:?}", entry.fate);
        if matches!(fate, Fate::Delivered | Fate::HandedOver) {
            assert!(entry.is_acknowledged, "record {id} counts as {fate:?}, but nobody else has it");
        }
        entry.fate = fate;
        let is_score = entry.kind == RecordKind::Score;
        self.tally.scored += u64::from(is_score && fate == Fate::Delivered);
    }

    pub(super) fn begin_flush(
        &mut self,
        id: FlushId,
        budget: Duration,
        traces: Option<Vec<u8>>,
        overflow: Option<usize>,
        is_last: bool,
        now: Duration,
    ) {
        for flush in self.flushes.iter_mut().filter(|flush| flush.deadline <= now) {
            flush.overdue_since.get_or_insert(now);
        }
        let is_dead = |flush: &Flush| flush.overdue_since.is_some_and(|since| since + FORGET_AFTER <= now);
        let (forgotten, known): (Vec<_>, Vec<_>) = self.flushes.drain(..).partition(is_dead);
        self.flushes = known;
        // Nobody has read what a dead flush had to tell.
        for flush in forgotten {
            self.tally.forgotten += 1;
            let drops = self.drops_of(&flush);
            add(&mut self.untold_drops, &drops);
        }
        let is_covered = |entry: &Entry| match &traces {
            Some(traces) => entry.trace.is_some_and(|trace| traces.contains(&trace)),
            None => true,
        };
        let open = (1..).zip(&self.records).filter(|(_, entry)| entry.fate.is_open() && is_covered(entry));
        let covered = open.map(|(id, _)| id).collect();
        let reserve = if overflow.is_some() { OVERFLOW_TIME.min(budget / 4) } else { Duration::ZERO };
        // A flush of some traces has no say about others.
        let told_drops =
            if traces.is_none() { std::mem::take(&mut self.untold_drops) } else { Default::default() };
        self.flushes.push(Flush {
            id,
            started: now,
            sends_until: now + budget - reserve,
            deadline: now + budget,
            traces,
            overflow,
            is_last,
            overdue_since: None,
            covered,
            told_drops,
            attempts: 0,
            requests: 0,
            in_vain: 0,
            ambiguous: 0,
            bytes: 0,
        });
    }

    fn drops_of(&self, flush: &Flush) -> DropReasons {
        let mut drops = flush.told_drops.clone();
        for id in &flush.covered {
            if let Fate::Dropped(reason) = self.entry(*id).fate {
                count(&mut drops, reason);
            }
        }
        drops
    }

    /// What any poll does first.
    pub(super) fn tidy_up(&mut self, now: Duration) {
        let (expired, live): (Vec<_>, Vec<_>) = self.leases.drain(..).partition(|lease| lease.expires <= now);
        self.leases = live;
        for lease in expired {
            self.tally.expired += 1;
            self.of_flush(lease.flush, |flush| flush.ambiguous += 1);
            self.restore_in_doubt(lease.id, &lease.ids);
        }
        let max_age = self.settings.max_age;
        let is_old = |id: &u64| self.entry(*id).recorded + max_age <= now;
        let old: Vec<_> = self.waiting().filter(is_old).collect();
        old.into_iter().for_each(|id| self.drop_record(id, DropReason::Expired));
    }

    pub(super) fn lease(
        &mut self,
        id: LeaseId,
        flush: FlushId,
        kind: RecordKind,
        ids: &[u64],
        body_len: usize,
        expires: Duration,
    ) {
        for id in ids {
            let entry = self.entry_mut(*id);
            assert!(entry.fate.is_waiting(), "record {id} is sent but {:?}", entry.fate);
            entry.fate = Fate::Leased;
        }
        let expires = expires + LEASE_GRACE;
        self.leases.push(Lease { id, flush, kind, expires, body_len, ids: ids.to_vec() });
    }

    pub(super) fn count_attempt(&mut self, flush: FlushId, bytes: usize) {
        self.of_flush(flush, |flush| {
            flush.attempts += 1;
            flush.bytes += bytes as u64;
        });
    }

    /// The client may not know whether these arrived.
    pub(super) fn doubt(&mut self, ids: &[u64]) {
        for id in ids {
            self.entry_mut(*id).may_be_doubled = true;
        }
    }

    /// The server, or the overflow, has these.
    pub(super) fn acknowledge(&mut self, ids: &[u64]) {
        for id in ids {
            let gives_up = self.settings.gives_up_ambiguous;
            let entry = self.entry_mut(*id);
            let is_double = std::mem::replace(&mut entry.is_acknowledged, true);
            assert!(
                !is_double || entry.may_be_doubled && !gives_up,
                "record {id} was sent again without need"
            );
            self.tally.doubled += u64::from(is_double);
        }
    }

    /// Takes in an outcome the client was told. `rejected` is how many records the client gave up on for it, and
    /// `bytes` by how much less it keeps.
    pub(super) fn hear(
        &mut self,
        id: LeaseId,
        outcome: &Outcome,
        rejected: u64,
        bytes: usize,
        now: Duration,
    ) {
        let Some(place) = self.leases.iter().position(|lease| lease.id == id) else {
            if matches!(outcome, Outcome::Response { status: 200..=299, .. }) {
                self.hear_late(id, outcome);
            }
            return;
        };
        let Lease { flush, kind, body_len, ids, .. } = self.leases.remove(place);
        self.of_flush(flush, |flush| match outcome {
            Outcome::Response { .. } => flush.requests += 1,
            Outcome::Failed { ambiguous } => flush.ambiguous += u64::from(*ambiguous),
        });
        let mut is_in_vain = true;
        match outcome {
            Outcome::Response { status: 200..=299, retry_after, .. } => {
                let mut again = Vec::new();
                for id in ids {
                    let Some(fate) = self.entry(id).verdict(outcome) else {
                        again.push(id);
                        continue;
                    };
                    self.settle(id, fate);
                    is_in_vain &= fate != Fate::Delivered;
                    self.tally.refused_alone += u64::from(fate != Fate::Delivered);
                }
                if again.is_empty() {
                    self.lane(kind).resume();
                } else {
                    self.lane(kind).back_off(*retry_after, now);
                }
                self.tally.put_off += again.len() as u64;
                self.restore(id, &again);
            }
            Outcome::Response { status: status @ (400 | 413 | 422), .. } if ids.len() > 1 => {
                self.lane(kind).resume();
                if *status == 413 && self.lane(kind).learn_limit(body_len, now) {
                    self.tally.limits_learned += 1;
                } else {
                    self.halve(&ids);
                }
                self.restore(id, &ids);
            }
            Outcome::Response { status: status @ (400 | 413 | 422), .. } => {
                self.lane(kind).resume();
                let entry = self.entry_mut(ids[0]);
                // Leaving out a small payload may gain nothing.
                let is_cut = *status == 413
                    && std::mem::take(&mut entry.may_lose_payload)
                    && (entry.has_large_payload || rejected == 0);
                if is_cut {
                    assert!((1..entry.len).contains(&bytes), "{entry:?} loses {bytes} bytes");
                    entry.len -= bytes;
                    self.tally.cut += 1;
                    self.restore(id, &ids);
                } else {
                    self.settle(ids[0], Fate::Rejected(*status));
                }
            }
            Outcome::Response { status: 0 | 300..=399 | 401 | 403 | 404 | 405, .. } => {
                self.lane(kind).close(now);
                self.restore(id, &ids);
            }
            Outcome::Response { retry_after, .. } => {
                self.lane(kind).back_off(*retry_after, now);
                self.restore(id, &ids);
            }
            Outcome::Failed { ambiguous } => {
                self.lane(kind).back_off(None, now);
                if *ambiguous {
                    self.restore_in_doubt(id, &ids);
                } else {
                    self.restore(id, &ids);
                }
            }
        }
        self.of_flush(flush, |flush| flush.in_vain += u64::from(is_in_vain));
    }

    /// After the lease has expired: what is back in the queue need not be sent again.
    fn hear_late(&mut self, lease: LeaseId, outcome: &Outcome) {
        let sent: Vec<_> =
            self.waiting().filter(|id| self.entry(*id).fate == Fate::Waiting(Some(lease))).collect();
        for id in sent {
            if let Some(fate) = self.entry(id).verdict(outcome) {
                self.settle(id, fate);
                self.tally.settled_late += 1;
                self.tally.scored_late += u64::from(self.entry(id).event.is_some());
            }
        }
    }

    /// Takes in what the client was told of a message to the overflow.
    pub(super) fn hear_overflow(&mut self, id: LeaseId, is_accepted: bool) {
        let Some(place) = self.leases.iter().position(|lease| lease.id == id) else { return };
        let lease = self.leases.remove(place);
        if is_accepted {
            lease.ids.iter().for_each(|id| self.settle(*id, Fate::HandedOver));
        } else {
            self.tally.overflow_refused += 1;
            self.of_flush(lease.flush, |flush| flush.overflow = None);
            self.restore(id, &lease.ids);
        }
    }

    /// Two groups that travel apart.
    fn halve(&mut self, ids: &[u64]) {
        let (first, second) = ids.split_at(ids.len() / 2);
        for half in [first, second] {
            self.last_group += 1;
            for id in half {
                self.entry_mut(*id).group = self.last_group;
            }
        }
        self.tally.halved += 1;
    }

    fn restore(&mut self, lease: LeaseId, ids: &[u64]) {
        for id in ids {
            self.entry_mut(*id).fate = Fate::Waiting(Some(lease));
        }
    }

    fn restore_in_doubt(&mut self, lease: LeaseId, ids: &[u64]) {
        self.doubt(ids);
        if self.settings.gives_up_ambiguous {
            ids.iter().for_each(|id| self.drop_record(*id, DropReason::Ambiguous));
        } else {
            self.restore(lease, ids);
        }
    }

    fn of_flush(&mut self, flush: FlushId, change: impl FnOnce(&mut Flush)) {
        if let Some(flush) = self.flushes.iter_mut().find(|known| known.id == flush) {
            change(flush);
        }
    }

    /// The flush is over: its report must say what the ledger says.
    pub(super) fn close(&mut self, id: FlushId, report: &FlushReport, now: Duration) {
        if self.flush(id).is_some_and(|flush| flush.is_last) {
            self.leases.clear();
            let open: Vec<_> = (1..)
                .zip(&self.records)
                .filter(|(_, entry)| entry.fate.is_open())
                .map(|(id, _)| id)
                .collect();
            open.into_iter().for_each(|id| self.drop_record(id, DropReason::Shutdown));
        }
        let place = self.flushes.iter().position(|flush| flush.id == id).expect("the caller has looked");
        let flush = self.flushes.remove(place);
        let count = |wanted: fn(Fate) -> bool| {
            flush.covered.iter().filter(|id| wanted(self.entry(**id).fate)).count() as u64
        };
        let delivered = count(|fate| fate == Fate::Delivered);
        let handed_over = count(|fate| fate == Fate::HandedOver);
        let retained = count(Fate::is_open);
        let drops = self.drops_of(&flush);
        let dropped = drops.iter().map(|(_, count)| count).sum::<u64>();
        let is_ok = delivered == flush.covered.len() as u64 && dropped == 0;
        assert_eq!(
            (report.delivered, report.handed_over, report.dropped, report.retained, report.ok),
            (delivered, handed_over, dropped, retained, is_ok),
            "delivered, handed over, dropped, retained and ok are not as the ledger says: {report:?}"
        );
        assert_eq!(report.drop_reasons, drops, "the reasons are not as the ledger says");
        let refusal = |id: &u64| match self.entry(*id).fate {
            Fate::Rejected(status) => Some((self.entry(*id).name.as_str(), status)),
            _ => None,
        };
        let mut rejected: Vec<_> = flush.covered.iter().filter_map(refusal).collect();
        let mut told: Vec<_> =
            report.rejected.iter().map(|rejection| (rejection.id.as_str(), rejection.status)).collect();
        let are_words_kept = report.rejected.iter().all(|rejection| rejection.message == MESSAGE);
        assert!(are_words_kept, "the server's words are kept: {report:?}");
        told.sort_unstable();
        rejected.sort_unstable();
        assert_eq!(told, rejected, "the rejected records are not as the ledger says");
        assert_eq!(
            (report.attempts, report.requests, report.ambiguous, report.bytes),
            (flush.attempts, flush.requests, flush.ambiguous, flush.bytes),
            "attempts, requests, ambiguous and bytes are not as the ledger says: {report:?}"
        );
        assert_eq!(u128::from(report.duration_ms), (now - flush.started).as_millis());
        self.tally.retained += retained;
        self.tally.scoped += if flush.traces.is_some() { delivered } else { 0 };
    }

    /// Every record is in exactly one place; the client's totals say the same.
    pub(super) fn check(&self, stats: &Stats) {
        let mut expected = Stats::default();
        expected.recorded = self.records.len() as u64 + self.lost;
        expected.dropped = self.lost;
        for entry in &self.records {
            *match entry.fate {
                Fate::Waiting(_) => &mut expected.queued,
                Fate::Leased => &mut expected.leased,
                Fate::Delivered => &mut expected.delivered,
                Fate::Rejected(_) => &mut expected.rejected,
                Fate::HandedOver => &mut expected.handed_over,
                Fate::Dropped(_) => &mut expected.dropped,
            } += 1;
            if entry.fate.is_open() {
                expected.bytes += entry.len as u64;
            }
        }
        assert_eq!(*stats, expected, "the totals are not as the ledger says");
    }
}

fn count(drops: &mut DropReasons, reason: DropReason) {
    *match reason {
        DropReason::QueueFull => &mut drops.queue_full,
        DropReason::Expired => &mut drops.expired,
        DropReason::Shutdown => &mut drops.shutdown,
        DropReason::Ambiguous => &mut drops.ambiguous,
        DropReason::StateLost => &mut drops.state_lost,
        other => panic!("nothing is dropped as {other:?}"),
    } += 1;
}

fn add(drops: &mut DropReasons, others: &DropReasons) {
    drops.queue_full += others.queue_full;
    drops.expired += others.expired;
    drops.shutdown += others.shutdown;
    drops.ambiguous += others.ambiguous;
    drops.state_lost += others.state_lost;
}
