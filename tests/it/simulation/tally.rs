//! What the stories had in them.

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what is worth simulating came up.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Tally {
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl Tally {
            pub(super) fn add(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }

            pub(super) fn least(&self) -> u64 {
                [$(self.$name),*].into_iter().min().unwrap_or_default()
            }
        }
    };
}

tally! {
    delivered,
    rejected,
    dropped,
    retained,
    /// Leases.
    expired,
    settled_late,
    doubled,
    cut,
    /// Flushes.
    forgotten,
    halved,
    limits_learned,
    limits_doubled,
    /// Scores delivered, and those that a 207 put off, refused, and settled after their lease had expired.
    scored,
    put_off,
    refused_alone,
    scored_late,
    handed_over,
    /// Messages that the overflow refused, and those whose driver never came back.
    overflow_refused,
    overflow_lost,
    /// Records that a scoped flush covered and got delivered, and those that it took along.
    scoped,
    taken_along,
    given_up,
    grown_old,
    shut_down,
}
