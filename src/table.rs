//! A few values by id. Leases, flushes, timers and clients come by the handful, where looking through a list costs
//! less than a tree; and in a wasm module each kind of tree costs as much as the whole exporter.

#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Vec<(u64, T)>,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a value, or replaces the one that has this id.
    pub(crate) fn insert(&mut self, id: u64, value: T) -> Option<T> {
        let replaced = self.remove(id);
        self.entries.push((id, value));
        replaced
    }

    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        self.entries.iter().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.entries.iter_mut().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let place = self.entries.iter().position(|(known, _)| *known == id)?;
        Some(self.entries.swap_remove(place).1)
    }

    /// Removes one of the values that `is_wanted` picks.
    pub(crate) fn remove_one(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.entries.iter().position(|(_, value)| is_wanted(value))?;
        Some(self.entries.swap_remove(place).1)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}
