//! The queue: bounded by bytes and by count, in the order of recording.

use std::collections::VecDeque;

use crate::time::Timestamp;
use crate::wire::Record;

/// A record in the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    /// The order of recording, which no clock decides.
    pub(crate) sequence: u64,
    pub(crate) recorded: Timestamp,
    /// The lease this record was last sent under.
    pub(crate) lease: Option<u64>,
    /// Records of one group are sent by themselves, so that a refused batch can be halved; 0 is no group.
    pub(crate) group: u64,
    pub(crate) record: Record,
}

/// Records that are not in flight, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    records: VecDeque<Queued>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.records.iter()
    }

    pub(crate) fn oldest_sequence(&self) -> Option<u64> {
        self.records.front().map(|queued| queued.sequence)
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        self.bytes += queued.record.len();
        self.records.push_back(queued);
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<Queued> {
        let queued = self.records.pop_front()?;
        self.bytes -= queued.record.len();
        Some(queued)
    }

    pub(crate) fn pop_oldest_if(&mut self, is_wanted: impl Fn(&Queued) -> bool) -> Option<Queued> {
        if self.records.front().is_some_and(is_wanted) { self.pop_oldest() } else { None }
    }

    /// Takes the oldest records that fit one batch.
    pub(crate) fn take_batch(&mut self, mut room: Room) -> Vec<Queued> {
        let mut batch = Vec::new();
        self.fill_batch(&mut batch, &mut room);
        batch
    }

    /// As [`take_batch`](Self::take_batch), but those that `is_first` picks before all others.
    pub(crate) fn take_batch_with(
        &mut self,
        mut room: Room,
        is_first: impl Fn(&Queued) -> bool,
    ) -> Vec<Queued> {
        let mut batch = self.take(|queued| is_first(queued) && room.takes(queued));
        self.fill_batch(&mut batch, &mut room);
        batch
    }

    /// As [`take_batch`](Self::take_batch), but none but those that `is_wanted` picks.
    pub(crate) fn take_only(&mut self, mut room: Room, is_wanted: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        self.take(|queued| is_wanted(queued) && room.takes(queued))
    }

    fn fill_batch(&mut self, batch: &mut Vec<Queued>, room: &mut Room) {
        while self.records.front().is_some_and(|oldest| room.takes(oldest)) {
            batch.extend(self.pop_oldest());
        }
        if room.records > 0 && !self.records.is_empty() {
            // Behind records of other groups.
            batch.extend(self.take(|queued| room.takes(queued)));
        }
    }

    /// Puts records back where they were.
    pub(crate) fn restore(&mut self, mut batch: Vec<Queued>) {
        while let Some(queued) = batch.pop() {
            self.bytes += queued.record.len();
            let place = self.records.partition_point(|other| other.sequence < queued.sequence);
            self.records.insert(place, queued);
        }
    }

    /// Takes the records last sent under `lease`.
    pub(crate) fn take_sent_under(&mut self, lease: u64) -> Vec<Queued> {
        self.take(|queued| queued.lease == Some(lease))
    }

    fn take(&mut self, mut is_wanted: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let mut taken = Vec::new();
        for queued in std::mem::take(&mut self.records) {
            if is_wanted(&queued) {
                self.bytes -= queued.record.len();
                taken.push(queued);
            } else {
                self.records.push_back(queued);
            }
        }
        taken
    }
}

/// What still fits a batch. The first record fits whatever its size, so that one above the limit meets the server's own
/// limit instead of staying for ever. Records of other groups are passed over, and what does not fit ends the batch.
pub(crate) struct Room {
    bytes: usize,
    records: usize,
    /// The group of the first record.
    group: Option<u64>,
}

impl Room {
    pub(crate) fn new(bytes: usize, records: usize) -> Self {
        Self { bytes, records: records.max(1), group: None }
    }

    fn takes(&mut self, queued: &Queued) -> bool {
        let is_first = self.group.is_none();
        if !is_first && self.group != Some(queued.group) {
            return false;
        }
        let len = queued.record.framed_len();
        if self.records > 0 && (is_first || len <= self.bytes) {
            self.group = Some(queued.group);
            self.bytes = self.bytes.saturating_sub(len);
            self.records -= 1;
            return true;
        }
        self.records = 0;
        false
    }
}
