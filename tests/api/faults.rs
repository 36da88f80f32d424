//! The entity API and the broadcast while everything around them fails: one round of each of the campaigns that `cargo xtask faults` runs for as long as
//! wanted.

use e2e::broadcast;
use e2e::faults::script::End;
use e2e::faults::{api, bridge};

/// Any: with it the same script comes again. What depends on timing differs from run to run all the same.
const SEED: u64 = 4;

#[test]
fn no_answer_is_wrong_and_no_acknowledged_write_is_lost_whatever_fails() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(api::run(SEED, End::Rounds(1))).unwrap_or_else(|error| panic!("{error:?}"));
    eprintln!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
    for fault in api::faults() {
        assert_eq!(report.came(fault), 1, "{fault}: {report}");
    }
    // Far less than any machine does in that time.
    for (name, least) in [
        ("writes acknowledged", 100),
        ("reads from a cache", 200),
        ("reads from a cache while the platform was away", 50),
        ("events told", 100),
    ] {
        assert!(report.count(name) >= least, "too little happened: {name}: {report}");
    }
}

#[test]
fn the_topic_tells_everything_once_and_in_order_whatever_fails() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(bridge::run(SEED, End::Rounds(1))).unwrap_or_else(|error| panic!("{error:?}"));
    eprintln!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
    for fault in bridge::faults() {
        assert_eq!(report.came(fault), 1, "{fault}: {report}");
    }
    for (_, name) in broadcast::FAULTS {
        assert_eq!(report.count(name), 0, "{name}: {report}");
    }
    // Far less than any machine does in that time.
    for (name, least) in [("writes acknowledged", 100), ("events told", 100), ("deletions told", 5)] {
        assert!(report.count(name) >= least, "too little happened: {name}: {report}");
    }
}
