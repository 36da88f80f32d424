//! Two heaps for all threads. glibc gives each thread that allocates an arena of its own, up to eight for each core, and librdkafka has many threads
//! that hardly allocate: with few arenas an idle process with a Kafka producer holds up to 3 MiB less. One would be too few: glibc gives the top
//! of the first arena back to the system whenever a long answer is freed, and a list of 325 kB is then sent at three quarters of the rate.
//!
//! glibc reads the number from the environment when a process starts, so the program starts itself once more, as the same process, before it does
//! anything else. Whoever sets the variable decides. `main.rs` of a binary calls it first.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What glibc reads.
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// How many there are.
const ARENAS: &str = "2";

/// Starts the program once more with two arenas, unless the environment says how many. Returns when there is nothing to do, or when it cannot
/// be done, which costs nothing but memory.
pub fn bound(environment: &BTreeMap<String, String>) {
    if !wanted(environment) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only when it fails.
    let _ = again.args(arguments).env(VARIABLE, ARENAS).exec();
}

/// Elsewhere the variable means nothing.
fn wanted(environment: &BTreeMap<String, String>) -> bool {
    cfg!(all(target_os = "linux", target_env = "gnu")) && !environment.contains_key(VARIABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_how_many_arenas_there_may_be_is_heeded() {
        let environment = |name: &str| BTreeMap::from([(name.to_owned(), "8".to_owned())]);
        assert!(!wanted(&environment(VARIABLE)));
        assert_eq!(wanted(&environment("OTHER")), cfg!(all(target_os = "linux", target_env = "gnu")));
    }
}
