use langfuse_edge::Level;

use crate::receiver::Receiver;

#[tokio::test]
async fn of_more_than_ten_thousand_open_observations_the_oldest_is_ended_with_a_warning() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let kept: Vec<_> = (0..=10_000).map(|number| langfuse.observe(format!("job {number}")).start()).collect();
    let oldest = &kept[0];

    let report = langfuse.flush().await;
    let warning = "job 0  WARNING  never ended: more than 10000 were open";

    assert_eq!((report.delivered, langfuse.stats().recorded), (1, 1), "{report:?}");
    let trees = receiver.trees().await;
    assert!(trees.contains(warning), "{trees}");
    assert!(!oldest.is_open() && kept[1..].iter().all(|observation| observation.is_open()));

    // What is below it is recorded; it is not, for a second time.
    oldest.level(Level::Error).end();
    oldest.observe("child").start().end();
    let report = langfuse.flush().await;

    let trees = receiver.trees().await;
    assert!(trees.contains(&format!("{warning}\n└─ SPAN  child\n")), "{trees}");
    assert_eq!((report.delivered, receiver.state("observations").await), (2, 3), "with job 1, one too many");
}
