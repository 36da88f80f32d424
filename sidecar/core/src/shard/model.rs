//! Every run of a change of the number of shards: replicas that count differently, Leases that are lost at any moment, writes that arrive late, readings
//! that are old; and what must hold in each state: no key is ever worked on in two.
//!
//! A Lease here is what [`crate::lease`]'s own model shows it to be: held by one at a time, and written only by who holds it or held it last. Drives the
//! real [`guide`].

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::layout::{Guidance, Known, guide};

/// The most shards of a run.
const SHARDS: usize = 3;

/// A fault that the product does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Work begins with a layout that was read before the Lease was held.
    TrustsAnOldReading,
    /// The layout is changed with the first Lease alone.
    CollectsNothing,
    /// Nobody looks what the shard's own Lease says.
    IgnoresMarks,
}

struct Change {
    counts: Vec<u32>,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    /// A replica reads the first Lease.
    Read(usize),
    /// A replica reads another.
    Look(usize, usize),
    /// A replica takes a free Lease that it wants.
    Take(usize, usize),
    /// A replica hands over a Lease that it does not want.
    Yield(usize, usize),
    /// A replica loses a Lease: it was frozen, or died.
    Lose(usize, usize),
    /// A holder sends a mark.
    Send(usize, usize),
    /// The API server stores it, and the sender hears of it if it is still there.
    Store(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    leases: [Lease; SHARDS],
    replicas: Vec<Replica>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Lease {
    holder: Option<usize>,
    layout: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Replica {
    in_force: Option<u32>,
    known: [Known; SHARDS],
    /// A mark under way: the shard and the layout. It can be stored only until another takes the Lease.
    sent: Option<(usize, u32)>,
}

impl Change {
    fn guidance(&self, replica: usize, state: &State) -> Vec<Guidance> {
        let Replica { in_force, known, .. } = &state.replicas[replica];
        let own = self.counts[replica];
        let mut known = *known;
        for known in &mut known {
            known.read_since |= self.fault == Fault::TrustsAnOldReading;
            if self.fault == Fault::IgnoresMarks {
                known.layout = Some(own);
            }
        }
        let mut guidance = guide(own, *in_force, &|_| true, &known);
        if self.fault == Fault::CollectsNothing && in_force.is_some_and(|layout| layout != own) && known[0].holds {
            guidance[0].declare = Some(own);
        }
        guidance
    }

    /// The most shards that there ever are.
    fn most(&self) -> u32 {
        self.counts.iter().copied().max().unwrap_or(1)
    }

    fn works(&self, replica: usize, state: &State) -> Vec<usize> {
        let guidance = self.guidance(replica, state);
        (0..guidance.len()).filter(|shard| guidance[*shard].work).collect()
    }
}

impl State {
    /// A replica learns what a Lease says.
    fn learn(&mut self, replica: usize, shard: usize) {
        let layout = self.leases[shard].layout;
        let reader = &mut self.replicas[replica];
        reader.known[shard].layout = layout;
        if shard == 0 {
            reader.in_force = Some(layout.unwrap_or(1));
        }
    }
}

impl Model for Change {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let replica = Replica { in_force: None, known: [Known::default(); SHARDS], sent: None };
        let settled = |count: u32| {
            std::array::from_fn(|shard| Lease {
                holder: None,
                layout: (count > 1 && (shard as u32) < count).then_some(count),
            })
        };
        (1..=self.most())
            .map(|count| State { leases: settled(count), replicas: vec![replica.clone(); self.counts.len()] })
            .collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, replica) in state.replicas.iter().enumerate() {
            actions.push(Action::Read(at));
            let guidance = self.guidance(at, state);
            for shard in 0..self.most() as usize {
                let told = guidance.get(shard).copied().unwrap_or_default();
                if shard > 0 {
                    actions.push(Action::Look(at, shard));
                }
                match state.leases[shard].holder {
                    None if told.want => actions.push(Action::Take(at, shard)),
                    Some(holder) if holder == at => {
                        actions.push(Action::Lose(at, shard));
                        if !told.want {
                            actions.push(Action::Yield(at, shard));
                        }
                        if told.declare.is_some()
                            && replica.sent.is_none()
                            && state.leases[shard].layout != told.declare
                        {
                            actions.push(Action::Send(at, shard));
                        }
                    }
                    _ => {}
                }
            }
            if replica.sent.is_some() {
                actions.push(Action::Store(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Read(at) => {
                state.learn(at, 0);
                for known in &mut state.replicas[at].known {
                    known.read_since = known.holds;
                }
            }
            Action::Look(at, shard) => state.learn(at, shard),
            Action::Take(at, shard) => {
                state.leases[shard].holder = Some(at);
                state.learn(at, shard);
                let known = &mut state.replicas[at].known[shard];
                (known.holds, known.read_since) = (true, false);
                // Another version stands now.
                for replica in &mut state.replicas {
                    replica.sent = replica.sent.filter(|(of, _)| *of != shard);
                }
            }
            Action::Yield(at, shard) | Action::Lose(at, shard) => {
                state.leases[shard].holder = None;
                let known = &mut state.replicas[at].known[shard];
                (known.holds, known.read_since) = (false, false);
            }
            Action::Send(at, shard) => {
                let layout = self.guidance(at, last).get(shard)?.declare?;
                state.replicas[at].sent = Some((shard, layout));
            }
            Action::Store(at) => {
                let (shard, layout) = state.replicas[at].sent.take()?;
                state.leases[shard].layout = Some(layout);
                if state.leases[shard].holder == Some(at) {
                    state.learn(at, shard);
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |model: &Change, state: &State| {
                let working: Vec<(usize, u32, Vec<usize>)> = (0..model.counts.len())
                    .map(|replica| (replica, model.counts[replica], model.works(replica, state)))
                    .filter(|(.., shards)| !shards.is_empty())
                    .collect();
                // Shards that are counted differently have keys in common.
                working.iter().all(|(replica, count, shards)| {
                    working.iter().filter(|(other, ..)| other != replica).all(|(_, other_count, other_shards)| {
                        count == other_count && shards.iter().all(|shard| !other_shards.contains(shard))
                    })
                })
            }),
            Property::sometimes(LIVE, |model: &Change, state: &State| {
                let last = model.counts.len() - 1;
                model.works(last, state).len() == model.counts[last] as usize
            }),
        ]
    }
}

const SAFE: &str = "no key is worked on by two";
const LIVE: &str = "work goes on in the layout of the last";

fn model(counts: &[u32], fault: Fault) -> Change {
    Change { counts: counts.to_vec(), fault }
}

fn holds(counts: &[u32]) {
    let checker = model(counts, Fault::None).checker().spawn_bfs().join();
    assert_eq!(checker.discovery(SAFE).map(|path| path.into_actions()), None, "{counts:?}");
    assert!(checker.discovery(LIVE).is_some(), "{counts:?}");
}

fn is_found(counts: &[u32], fault: Fault) -> bool {
    let until = HasDiscoveries::AnyOf([SAFE].into());
    model(counts, fault).checker().finish_when(until).spawn_bfs().join().discovery(SAFE).is_some()
}

#[test]
fn however_replicas_count_no_key_is_worked_on_by_two() {
    for counts in [&[1, 2][..], &[2, 1], &[2, 2]] {
        holds(counts);
    }
    if std::env::var_os("KAB_MODEL").is_some() {
        for counts in [&[3, 2][..], &[2, 3], &[1, 3], &[1, 2, 1], &[1, 2, 2]] {
            holds(counts);
        }
    }
}

#[test]
fn faults_in_the_change_of_layouts_are_found() {
    assert!(is_found(&[1, 2, 2], Fault::TrustsAnOldReading));
    assert!(is_found(&[2, 1], Fault::CollectsNothing));
    assert!(is_found(&[2, 1, 2], Fault::IgnoresMarks));
}
