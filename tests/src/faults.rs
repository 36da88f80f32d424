//! Fault campaigns: everything around our programs fails, as a script says that follows from a seed, while actors go on asking; at the end a checker
//! that knows only what was answered says what is wrong.
//!
//! [`script`], [`site`] and [`report`] are for all campaigns, the others are campaigns. The tests run each of them for a minute or so, `cargo xtask faults`
//! for as long as wanted.

pub mod api;
pub mod bridge;
pub mod report;
pub mod script;
pub mod site;
