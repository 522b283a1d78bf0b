//! Observations that are open, bounded: one that nobody ends is ended for them, and says so.

use std::fmt;
use std::time::Duration;

use crate::id::SpanContext;
use crate::observation::{Level, ObservationData};
use crate::time::{SteadyClock, Timestamp};

/// So many observations of a client may be open.
pub const MOST_OPEN: usize = 10_000;
/// An observation may be open for so long.
pub const LONGEST_OPEN: Duration = Duration::from_secs(3600);

const TOO_MANY: &str = "never ended: more than 10000 were open";
const TOO_LONG: &str = "never ended: open for more than 1 h";

/// Where an open observation is kept. Another may be there when it has ended, so it goes with the observation's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// The open observations of a client.
pub struct Open {
    clock: SteadyClock,
    /// A ring in the order of starting. The first slot is nobody's place: its neighbours are the newest one and the
    /// oldest. Slots are used again, so that there are as many as were ever open at the same time.
    slots: Vec<Slot>,
    /// The first of the free slots, each of which has the next one as its `newer`; 0 is none.
    free: u32,
    len: usize,
}

#[derive(Default)]
struct Slot {
    observation: Option<Box<ObservationData>>,
    since: Timestamp,
    older: u32,
    newer: u32,
}

impl Open {
    /// Without any observation.
    #[must_use]
    pub fn new() -> Self {
        Self { clock: SteadyClock::default(), slots: vec![Slot::default()], free: 0, len: 0 }
    }

    /// Keeps an observation that starts now, whatever its start time says.
    pub fn start(&mut self, observation: Box<ObservationData>, now: Timestamp) -> Place {
        let since = self.clock.advance(now);
        let place = if self.free == 0 {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        } else {
            self.free
        };
        let older = self.slot(0).older;
        self.slot(0).older = place;
        self.slot(older).newer = place;
        let slot = self.slot(place);
        let next_free = slot.newer;
        *slot = Slot { observation: Some(observation), since, older, newer: 0 };
        self.free = next_free;
        self.len += 1;
        Place(place)
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.len
    }

    /// An observation that is open.
    pub fn get(&mut self, place: Place, context: SpanContext) -> Option<&mut ObservationData> {
        let slot = self.slots.get_mut(place.0 as usize)?;
        slot.observation.as_deref_mut().filter(|observation| observation.context == context)
    }

    /// Takes an observation that ends; none when it has ended before.
    pub fn end(&mut self, place: Place, context: SpanContext) -> Option<Box<ObservationData>> {
        self.get(place, context)?;
        self.take(place.0)
    }

    /// Takes one that has to be ended, because too many are open or because it is open for too long.
    pub fn take_neglected(&mut self, now: Timestamp) -> Option<Box<ObservationData>> {
        let now = self.clock.advance(now);
        let oldest = self.slot(0).newer;
        let why = if self.len > MOST_OPEN {
            TOO_MANY
        } else if self.slot(oldest).since + LONGEST_OPEN < now {
            TOO_LONG
        } else {
            return None;
        };
        let mut observation = self.take(oldest)?;
        observation.attributes.complain(Level::Warning, why);
        Some(observation)
    }

    fn take(&mut self, place: u32) -> Option<Box<ObservationData>> {
        let free = self.free;
        let slot = self.slot(place);
        let observation = slot.observation.take()?;
        let (older, newer) = (slot.older, slot.newer);
        slot.newer = free;
        self.free = place;
        self.slot(older).newer = newer;
        self.slot(newer).older = older;
        self.len -= 1;
        Some(observation)
    }

    fn slot(&mut self, place: u32) -> &mut Slot {
        &mut self.slots[place as usize]
    }
}

impl Default for Open {
    fn default() -> Self {
        Self::new()
    }
}

/// Without the observations, which are what the user recorded.
impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Open({} observations)", self.len)
    }
}
