use std::time::Duration;

use langfuse_edge::observation::{Attributes, Field, ObservationData};
use langfuse_edge::open::{LONGEST_OPEN, MOST_OPEN, Open, Place};
use langfuse_edge::{Level, Timestamp};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{millis, secs};
use crate::records::{START, observation};

const TOO_MANY: &str = "never ended: more than 10000 were open";
const TOO_LONG: &str = "never ended: open for more than 1 h";

#[wasm_bindgen_test(unsupported = test)]
fn of_more_than_ten_thousand_open_observations_the_oldest_is_ended_with_a_warning() {
    let mut open = Open::new();
    for number in 1..=10_000 {
        start(&mut open, number, START);
        assert!(open.take_neglected(START).is_none());
    }
    for number in 10_001..=10_003 {
        start(&mut open, number, START);
        let ended = open.take_neglected(START).expect("one too many is open");
        assert_eq!(ended.context, observation(number - 10_000).context);
        assert_eq!(ended.attributes, saying(Level::Warning, TOO_MANY));
        assert!(open.take_neglected(START).is_none(), "one has started, so one is ended");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_open_for_more_than_an_hour_is_ended_with_a_warning() {
    let mut open = Open::new();
    start(&mut open, 1, START);
    start(&mut open, 2, START);
    start(&mut open, 3, START + secs(1));
    wait(&mut open, secs(3600));
    assert!(neglected(&mut open, secs(3600)).is_empty());

    assert_eq!(neglected(&mut open, secs(3600) + millis(1)), [1, 2]);
    assert!(neglected(&mut open, secs(3601)).is_empty());
    let ended = open.take_neglected(START + secs(3602)).expect("the third one is due");

    assert_eq!(ended.context, observation(3).context);
    assert_eq!(ended.attributes, saying(Level::Warning, TOO_LONG));
    assert_eq!((MOST_OPEN, LONGEST_OPEN), (10_000, secs(3600)));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_observation_is_as_old_as_its_start_and_not_as_its_start_time() {
    let mut open = Open::new();
    let mut yesterday = observation(1);
    yesterday.start = Timestamp::from_millis(START.as_millis() - 86_400_000);
    open.start(Box::new(yesterday), START);

    assert!(neglected_after(&mut open, secs(3600)).is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_warning_takes_away_neither_an_error_nor_what_the_user_said() {
    let words = "quota exceeded";
    let both = "quota exceeded (never ended: open for more than 1 h)";
    for (own_level, own_words, level, message) in [
        (None, None, Level::Warning, TOO_LONG),
        (None, Some(words), Level::Warning, both),
        (Some(Level::Debug), None, Level::Warning, TOO_LONG),
        (Some(Level::Default), None, Level::Warning, TOO_LONG),
        (Some(Level::Warning), Some(words), Level::Warning, both),
        (Some(Level::Error), None, Level::Error, TOO_LONG),
        (Some(Level::Error), Some(words), Level::Error, both),
    ] {
        let mut open = Open::new();
        let place = start(&mut open, 1, START);
        let said = &mut open.get(place, observation(1).context).expect("it is open").attributes;
        if let Some(level) = own_level {
            said.fields.set(Field::Level, level.as_str());
        }
        if let Some(words) = own_words {
            said.fields.set(Field::StatusMessage, words);
        }
        wait(&mut open, secs(3601));

        let ended = open.take_neglected(START + secs(3601)).expect("it is due");

        assert_eq!(ended.attributes, saying(level, message), "{own_level:?} {own_words:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_has_ended_cannot_be_changed_or_ended_again() {
    let mut open = Open::new();
    let context = observation(1).context;
    let ended = start(&mut open, 1, START);
    assert!(open.end(ended, context).is_some());
    assert!(open.end(ended, context).is_none());

    let neglected = start(&mut open, 2, START);
    assert_eq!(neglected, ended, "its place is used again");
    assert!(open.get(ended, context).is_none() && open.end(ended, context).is_none());
    assert_eq!(neglected_after(&mut open, secs(3601)), [2]);

    assert!(open.get(neglected, observation(2).context).is_none());
    assert!(open.end(neglected, observation(2).context).is_none());
    assert!(Open::new().end(neglected, observation(2).context).is_none(), "another client has no such place");
}

#[wasm_bindgen_test(unsupported = test)]
fn observations_end_in_any_order_and_the_others_stay_in_the_order_of_their_start() {
    for step in [1, 3, 7, 11, 99] {
        let mut open = Open::new();
        let mut places: Vec<_> = (1..=100).map(|number| (number, start(&mut open, number, START))).collect();
        for turn in 0..60 {
            let (number, place) = places.remove(turn * step % places.len());
            let ended = open.end(place, observation(number).context).expect("it is open");
            assert_eq!(ended.context, observation(number).context);
        }
        for number in 101..=150 {
            places.push((number, start(&mut open, number, START)));
        }
        let expected: Vec<_> = places.iter().map(|(number, _)| *number).collect();
        assert_eq!(neglected_after(&mut open, secs(3601)), expected);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_has_ended_does_not_pile_up_behind_one_that_stays_open() {
    let mut open = Open::new();
    start(&mut open, 1, START);
    let place = start(&mut open, 2, START);
    for number in 3..=200_000 {
        assert!(open.end(place, observation(number - 1).context).is_some());
        assert_eq!(start(&mut open, number, START), place);
        assert!(open.take_neglected(START).is_none(), "two are open");
    }
    assert_eq!(neglected_after(&mut open, secs(3601)), [1, 200_000]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_clock_that_shows_1970_or_is_set_makes_no_observation_old() {
    for shown in [Timestamp::default(), Timestamp::from_millis(START.as_millis() + 86_400_000)] {
        let mut open = Open::new();
        start(&mut open, 1, shown);
        assert!(open.take_neglected(START).is_none());
        start(&mut open, 2, START);
        assert!(neglected_after(&mut open, secs(1800)).is_empty());
    }
}

fn start(open: &mut Open, number: u64, now: Timestamp) -> Place {
    open.start(Box::new(observation(number)), now)
}

/// Lets time pass, with a look at the clock now and then.
fn wait(open: &mut Open, until: Duration) {
    for minutes in (10..until.as_secs() / 60).step_by(10) {
        assert!(open.take_neglected(START + secs(minutes * 60)).is_none());
    }
}

/// As [`neglected`], when that time has passed.
fn neglected_after(open: &mut Open, time: Duration) -> Vec<u64> {
    wait(open, time.min(LONGEST_OPEN));
    neglected(open, time)
}

/// The numbers of those that have to be ended so long after the story's beginning.
fn neglected(open: &mut Open, time: Duration) -> Vec<u64> {
    let next = || open.take_neglected(START + time).as_deref().map(number);
    std::iter::from_fn(next).collect()
}

fn number(observation: &ObservationData) -> u64 {
    u64::from_be_bytes(*observation.context.observation_id.as_bytes())
}

fn saying(level: Level, message: &str) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.fields.set(Field::Level, level.as_str());
    attributes.fields.set(Field::StatusMessage, message);
    attributes
}
