//! The entity API while everything around it fails: one round of the campaign that `cargo xtask faults api` runs for as long as wanted.

use e2e::faults::api;
use e2e::faults::script::End;

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
