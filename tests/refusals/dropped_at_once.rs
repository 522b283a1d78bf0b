#![deny(unused_must_use)]

fn main() {
    let langfuse = langfuse_edge::Langfuse::disabled();
    langfuse.observe("described and no more"); //~ unused `ObservationBuilder`; an observation is recorded once it is started and ended
    langfuse.observe("dropped at once").start(); //~ unused `langfuse_edge::Observation`; an observation ends when it is dropped
    langfuse.flush(); //~ a flush does nothing until it is awaited
    langfuse.score_active_trace("quality", 1); //~ unused `ScoreBuilder`; a score is recorded once it is created
}
