//! Batches in flight.

use crate::queue::Queued;
use crate::table::Table;
use crate::time::Timestamp;
use crate::wire::RecordKind;

/// Names a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushId(pub(crate) u64);

/// Names a batch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub(crate) u64);

macro_rules! number {
    ($name:ident) => {
        impl $name {
            /// The id as a number that survives a trip through JavaScript.
            #[must_use]
            pub fn as_f64(self) -> f64 {
                self.0 as f64
            }

            /// The id a number stands for.
            #[must_use]
            pub fn from_f64(number: f64) -> Self {
                Self(number as u64)
            }
        }
    };
}

number!(FlushId);
number!(LeaseId);

#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) flush: FlushId,
    pub(crate) kind: RecordKind,
    pub(crate) expires: Timestamp,
    pub(crate) batch: Vec<Queued>,
    pub(crate) body_len: usize,
}

impl Lease {
    fn bytes(&self) -> usize {
        self.batch.iter().map(|queued| queued.record.len()).sum()
    }
}

/// Leases by id. What they hold together is counted, so that a push need not walk them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    table: Table<Lease>,
    records: usize,
    bytes: usize,
}

impl Leases {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn insert(&mut self, id: u64, lease: Lease) {
        self.records += lease.batch.len();
        self.bytes += lease.bytes();
        self.table.insert(id, lease);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Lease> {
        let lease = self.table.remove(id);
        self.released(lease)
    }

    pub(crate) fn remove_one(&mut self, is_wanted: impl Fn(&Lease) -> bool) -> Option<Lease> {
        let lease = self.table.remove_one(is_wanted);
        self.released(lease)
    }

    fn released(&mut self, lease: Option<Lease>) -> Option<Lease> {
        if let Some(lease) = &lease {
            self.records -= lease.batch.len();
            self.bytes -= lease.bytes();
        }
        lease
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.table.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
