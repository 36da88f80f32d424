//! Tables for single steps of an election; what holds in every run is checked in `lease/model.rs`.

use super::*;

const DURATIONS: Durations =
    Durations { lease: Duration::from_secs(10), renew: Duration::from_secs(6), retry: Duration::from_secs(2) };

fn seconds(count: u64) -> Moment {
    Duration::from_secs(count)
}

fn lease(version: u64, holder: Option<&str>, app: Option<&str>, transitions: u64) -> Lease {
    Lease {
        version: version.to_string(),
        holder: holder.map(str::to_owned),
        app: app.map(str::to_owned),
        duration: DURATIONS.lease,
        transitions,
        shards: None,
    }
}

fn candidate(app: Option<&str>) -> Candidate {
    Candidate::new("me".to_owned(), app.map(str::to_owned), DURATIONS, Moment::ZERO)
}

fn claim(effect: Option<Effect>) -> Claim {
    let Some(Effect::Write(claim)) = effect else { panic!("not a write: {effect:?}") };
    claim
}

/// What the API server makes of a claim.
fn stored(claim: &Claim, version: u64) -> Input {
    Input::Written(Ok(Lease {
        version: version.to_string(),
        holder: claim.holder.clone(),
        app: claim.app.clone(),
        duration: claim.duration,
        transitions: claim.transitions,
        shards: claim.shards,
    }))
}

fn leading(app: Option<&str>) -> Candidate {
    let mut candidate = candidate(app);
    assert_eq!(candidate.step(Input::Tick, seconds(0), 0.0), Some(Effect::Read));
    let first = claim(candidate.step(Input::Read(Ok(None)), seconds(0), 0.0));
    assert_eq!((first.base.as_deref(), first.holder.as_deref(), first.acquired), (None, Some("me"), true));
    assert_eq!(candidate.step(stored(&first, 1), seconds(1), 0.0), None);
    candidate
}

#[test]
fn the_first_candidate_leads_at_once_until_its_renew_deadline_after_the_request() {
    let candidate = leading(None);
    let term = Term { number: 1, epoch: 0, until: seconds(6) };
    assert_eq!(candidate.standing(seconds(5)), Standing::Leading(term));
    assert_eq!(candidate.standing(seconds(6)), Standing::Unknown);
    assert_eq!(candidate.wake_at(), Some(seconds(3)), "it renews long before");
}

#[test]
fn a_renewal_goes_on_with_the_same_term_and_one_that_comes_too_late_begins_another() {
    let mut candidate = leading(None);
    let renewal = claim(candidate.step(Input::Tick, seconds(3), 0.0));
    assert_eq!((renewal.base.as_deref(), renewal.acquired, renewal.transitions), (Some("1"), false, 0));
    candidate.step(stored(&renewal, 2), seconds(3), 0.0);
    assert_eq!(candidate.standing(seconds(8)), Standing::Leading(Term { number: 1, epoch: 0, until: seconds(9) }));
    let late = claim(candidate.step(Input::Tick, seconds(8), 0.0));
    candidate.step(stored(&late, 3), seconds(10), 0.0);
    assert_eq!(candidate.standing(seconds(10)), Standing::Leading(Term { number: 2, epoch: 0, until: seconds(14) }));
}

#[test]
fn an_answer_that_took_longer_than_the_deadline_gives_no_term() {
    let mut candidate = leading(None);
    let renewal = claim(candidate.step(Input::Tick, seconds(3), 0.0));
    candidate.step(stored(&renewal, 2), seconds(30), 0.0);
    assert_eq!(candidate.standing(seconds(30)), Standing::Unknown);
    assert_eq!(candidate.step(Input::Tick, seconds(32), 0.0), Some(Effect::Read), "it must look before it writes");
}

#[test]
fn another_s_lease_is_taken_when_it_stood_unchanged_for_its_whole_duration() {
    let mut candidate = candidate(None);
    let look = |candidate: &mut Candidate, at: u64, version: u64| {
        assert_eq!(candidate.step(Input::Tick, seconds(at), 0.0), Some(Effect::Read));
        candidate.step(Input::Read(Ok(Some(lease(version, Some("other"), None, 4)))), seconds(at), 0.0)
    };
    assert_eq!(look(&mut candidate, 100, 7), None);
    assert_eq!(look(&mut candidate, 109, 8), None, "it was renewed");
    assert_eq!(look(&mut candidate, 118, 8), None);
    assert_eq!(candidate.standing(seconds(118)), Standing::Standby { holder: Some("other".to_owned()) });
    let taken = claim(look(&mut candidate, 120, 8));
    assert_eq!((taken.base.as_deref(), taken.transitions, taken.acquired), (Some("8"), 5, true));
}

#[test]
fn a_lease_that_was_handed_over_is_taken_at_once() {
    let mut candidate = candidate(None);
    candidate.step(Input::Tick, seconds(0), 0.0);
    let taken = claim(candidate.step(Input::Read(Ok(Some(lease(7, None, None, 4)))), seconds(0), 0.0));
    assert_eq!((taken.base.as_deref(), taken.transitions), (Some("7"), 5));
}

#[test]
fn a_process_that_comes_back_under_its_name_goes_on_at_once() {
    let mut candidate = candidate(None);
    candidate.step(Input::Tick, seconds(0), 0.0);
    let taken = claim(candidate.step(Input::Read(Ok(Some(lease(7, Some("me"), None, 4)))), seconds(0), 0.0));
    assert_eq!((taken.base.as_deref(), taken.transitions, taken.acquired), (Some("7"), 4, false));
}

#[test]
fn another_application_s_lease_is_left_alone_until_a_person_deletes_it() {
    let mut candidate = candidate(Some("shop"));
    for at in [0, 20, 40] {
        assert_eq!(candidate.step(Input::Tick, seconds(at), 0.0), Some(Effect::Read));
        let theirs = lease(7, None, Some("crm"), 4);
        assert_eq!(candidate.step(Input::Read(Ok(Some(theirs))), seconds(at), 0.0), None);
        assert_eq!(candidate.standing(seconds(at)), Standing::Foreign { app: "crm".to_owned() });
    }
    candidate.step(Input::Tick, seconds(60), 0.0);
    assert_eq!(candidate.step(Input::Read(Ok(None)), seconds(60), 0.0), None, "who held it may still be at work");
    candidate.step(Input::Tick, seconds(70), 0.0);
    let taken = claim(candidate.step(Input::Read(Ok(None)), seconds(70), 0.0));
    assert_eq!((taken.base, taken.app.as_deref()), (None, Some("shop")));
}

#[test]
fn a_lease_without_an_application_is_anybody_s() {
    let mut candidate = candidate(Some("shop"));
    candidate.step(Input::Tick, seconds(0), 0.0);
    let taken = claim(candidate.step(Input::Read(Ok(Some(lease(7, None, None, 4)))), seconds(0), 0.0));
    assert_eq!(taken.app.as_deref(), Some("shop"));
}

#[test]
fn a_stop_hands_over_and_ends() {
    let mut candidate = leading(None);
    let over = claim(candidate.step(Input::Stop, seconds(2), 0.0));
    assert_eq!((over.base.as_deref(), over.holder.as_deref(), over.transitions), (Some("1"), None, 0));
    assert!(!matches!(candidate.standing(seconds(2)), Standing::Leading(_)));
    candidate.step(stored(&over, 2), seconds(2), 0.0);
    assert!(candidate.has_ended());
}

#[test]
fn a_stop_during_a_renewal_hands_over_behind_it() {
    let mut candidate = leading(None);
    let renewal = claim(candidate.step(Input::Tick, seconds(3), 0.0));
    assert_eq!(candidate.step(Input::Stop, seconds(3), 0.0), None);
    let over = claim(candidate.step(stored(&renewal, 2), seconds(4), 0.0));
    assert_eq!((over.base.as_deref(), over.holder.as_deref()), (Some("2"), None));
}

#[test]
fn a_stop_leaves_another_s_lease_alone() {
    let mut candidate = candidate(None);
    candidate.step(Input::Tick, seconds(0), 0.0);
    candidate.step(Input::Read(Ok(Some(lease(7, Some("other"), None, 4)))), seconds(0), 0.0);
    assert_eq!(candidate.step(Input::Stop, seconds(1), 0.0), Some(Effect::Read));
    assert_eq!(candidate.step(Input::Read(Ok(Some(lease(7, Some("other"), None, 4)))), seconds(1), 0.0), None);
    assert!(candidate.has_ended());
}

#[test]
fn a_write_whose_answer_was_lost_is_looked_for_before_anything_else_is_written() {
    let mut candidate = leading(None);
    candidate.step(Input::Tick, seconds(3), 0.0);
    assert_eq!(candidate.step(Input::Written(Err(Failure::Unknown)), seconds(4), 0.0), None);
    assert!(matches!(candidate.standing(seconds(5)), Standing::Leading(_)), "the term is not over yet");
    assert_eq!(candidate.step(Input::Tick, seconds(6), 0.0), Some(Effect::Read));
    let again = claim(candidate.step(Input::Read(Ok(Some(lease(2, Some("me"), None, 0)))), seconds(6), 0.0));
    assert_eq!(again.base.as_deref(), Some("2"));
}

#[test]
fn a_conflict_with_another_holder_ends_the_term_at_once() {
    let mut candidate = leading(None);
    candidate.step(Input::Tick, seconds(3), 0.0);
    assert_eq!(candidate.step(Input::Written(Err(Failure::Conflict)), seconds(3), 0.0), Some(Effect::Read));
    candidate.step(Input::Read(Ok(Some(lease(9, Some("other"), None, 1)))), seconds(3), 0.0);
    assert_eq!(candidate.standing(seconds(3)), Standing::Standby { holder: Some("other".to_owned()) });
}

#[test]
fn a_lease_that_is_not_wanted_is_renewed_until_its_work_has_ended_and_then_handed_over() {
    let mut candidate = leading(None);
    assert_eq!(candidate.step(Input::Want(false), seconds(2), 0.0), None);
    assert!(matches!(candidate.standing(seconds(2)), Standing::Yielding(_)), "its work goes on to its end");
    let renewal = claim(candidate.step(Input::Tick, seconds(3), 0.0));
    assert_eq!(renewal.holder.as_deref(), Some("me"));
    assert_eq!(candidate.step(Input::Yield, seconds(3), 0.0), None, "a write is under way");
    assert_eq!(candidate.step(stored(&renewal, 2), seconds(4), 0.0), None);
    let over = claim(candidate.step(Input::Yield, seconds(4), 0.0));
    assert_eq!((over.base.as_deref(), over.holder.as_deref()), (Some("2"), None));
    assert_eq!(candidate.step(stored(&over, 3), seconds(5), 0.0), None);
    assert_eq!(candidate.standing(seconds(5)), Standing::Standby { holder: None });
    assert_eq!(candidate.step(Input::Tick, seconds(7), 0.0), Some(Effect::Read));
    assert_eq!(
        candidate.step(Input::Read(Ok(Some(lease(3, None, None, 0)))), seconds(7), 0.0),
        None,
        "free, not wanted"
    );
    assert!(!candidate.has_ended());
    assert_eq!(candidate.step(Input::Want(true), seconds(8), 0.0), Some(Effect::Read), "at once");
    let again = claim(candidate.step(Input::Read(Ok(Some(lease(3, None, None, 0)))), seconds(8), 0.0));
    assert_eq!((again.holder.as_deref(), again.transitions), (Some("me"), 1));
}

#[test]
fn what_is_left_of_an_unwanted_lease_whose_term_ran_out_is_handed_over() {
    let mut candidate = leading(None);
    assert_eq!(candidate.step(Input::Want(false), seconds(2), 0.0), None);
    let renewal = claim(candidate.step(Input::Tick, seconds(3), 0.0));
    assert_eq!(candidate.step(Input::Written(Err(Failure::Unknown)), seconds(7), 0.0), None);
    assert_eq!(candidate.step(Input::Tick, seconds(9), 0.0), Some(Effect::Read));
    let mine = lease(2, renewal.holder.as_deref(), None, 0);
    let over = claim(candidate.step(Input::Read(Ok(Some(mine))), seconds(9), 0.0));
    assert_eq!(over.holder, None);
}

#[test]
fn the_number_of_shards_is_written_at_once_and_with_each_renewal() {
    let mut candidate = leading(None);
    let declared = claim(candidate.step(Input::Declare(4), seconds(2), 0.0));
    assert_eq!(declared.shards, Some(4));
    assert_eq!(candidate.step(stored(&declared, 2), seconds(2), 0.0), None);
    assert_eq!(candidate.lease().and_then(|lease| lease.shards), Some(4));
    assert_eq!(candidate.step(Input::Declare(4), seconds(3), 0.0), None, "it stands already");
    assert_eq!(claim(candidate.step(Input::Tick, seconds(4), 0.0)).shards, Some(4));
}
