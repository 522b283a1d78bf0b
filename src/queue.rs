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

    /// Takes the oldest records that fit one batch. The first one is taken whatever its size, so that a record
    /// above the limit meets the server's own limit instead of staying for ever.
    pub(crate) fn take_batch(&mut self, batch_bytes: usize, batch_records: usize) -> Vec<Queued> {
        let mut bytes = 0;
        let group = self.records.front().map_or(0, |first| first.group);
        let fits = self
            .records
            .iter()
            .take(batch_records.max(1))
            .take_while(|queued| {
                let first = bytes == 0;
                bytes += queued.record.framed_len();
                first || (bytes <= batch_bytes && queued.group == group)
            })
            .count();
        let batch: Vec<_> = self.records.drain(..fits).collect();
        self.bytes -= batch.iter().map(|queued| queued.record.len()).sum::<usize>();
        batch
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
        let mut taken = Vec::new();
        if self.records.iter().any(|queued| queued.lease == Some(lease)) {
            for queued in std::mem::take(&mut self.records) {
                if queued.lease == Some(lease) {
                    self.bytes -= queued.record.len();
                    taken.push(queued);
                } else {
                    self.records.push_back(queued);
                }
            }
        }
        taken
    }
}
