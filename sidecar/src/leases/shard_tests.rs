//! Several shards, several keepers, against an API server faked beneath the client.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use runtime::readiness::{Need, Readiness};
use serde_json::{Value, json};

use super::*;
use crate::fake::{self, Asked, Reply, todos};

/// An API server with Leases, which knows versions and merges.
#[derive(Clone, Default)]
struct Server {
    leases: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut leases = self.leases.lock();
        let (method, target) = asked.line.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap();
        let told: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let name = match method {
            "POST" => told["metadata"]["name"].as_str().unwrap().to_owned(),
            _ => path.rsplit('/').next().unwrap().to_owned(),
        };
        match (method, leases.get_mut(&name)) {
            ("GET", Some(lease)) => Reply::Json(200, lease.to_string()),
            ("POST", None) => {
                let mut made = told;
                made["metadata"]["resourceVersion"] = json!("1");
                leases.insert(name, made.clone());
                Reply::Json(201, made.to_string())
            }
            ("PATCH", Some(lease)) => {
                let (stands, base) =
                    (lease["metadata"]["resourceVersion"].clone(), &told["metadata"]["resourceVersion"]);
                if !base.is_null() && *base != stands {
                    return fake::status(409, "Conflict", "the object has been modified");
                }
                json_patch::merge(lease, &told);
                let version: u64 = stands.as_str().unwrap().parse().unwrap();
                lease["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                Reply::Json(200, lease.to_string())
            }
            ("POST", Some(_)) => fake::status(409, "AlreadyExists", "there is one"),
            _ => fake::status(404, "NotFound", "no such lease"),
        }
    }
}

struct Replica {
    whole: Leadership,
    shards: Vec<Leadership>,
    readiness: Readiness,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Infallible>>,
}

impl Replica {
    fn join(process: &str, shards: usize, server: &Server) -> Self {
        let server = server.clone();
        let (client, _) = fake::client(move |asked| server.answer(asked));
        let (whole, led) = leadership();
        let (announcers, leaderships): (Vec<_>, Vec<_>) = (0..shards).map(|_| leadership()).unzip();
        let readiness = Readiness::new();
        let millis = Duration::from_millis;
        let keeper = Keeper {
            client,
            kind: Arc::new(todos()),
            scope: Some("shop".into()),
            home: "home".to_owned(),
            purpose: Purpose::Own,
            identity: Identity {
                process: process.to_owned(),
                app: Some("shop".to_owned()),
                durations: Durations { lease: millis(3000), renew: millis(2000), retry: millis(50) },
            },
            whole,
            shards: announcers,
            part: readiness.part("lease Todo", Need::Reported),
            metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        };
        let stop = CancellationToken::new();
        let ended = tokio::spawn(keeper.run(stop.clone()));
        Self { whole: led, shards: leaderships, readiness, stop, ended }
    }

    fn led(&self) -> Vec<usize> {
        let leads = |leadership: &Leadership| matches!(leadership.standing(), Standing::Leading(_));
        (0..self.shards.len()).filter(|shard| leads(&self.shards[*shard])).collect()
    }

    async fn leave(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// Waits until these replicas lead so many shards each; at no time two lead one.
async fn share(server: &Server, replicas: &[&Replica], counts: &[usize]) {
    let wait = async {
        loop {
            let led: Vec<Vec<usize>> = replicas.iter().map(|replica| replica.led()).collect();
            let mut all: Vec<usize> = led.iter().flatten().copied().collect();
            all.sort_unstable();
            let total = all.len();
            all.dedup();
            assert_eq!(all.len(), total, "two lead one: {led:?}");
            if led.iter().map(Vec::len).collect::<Vec<_>>() == counts {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        tell(server, replicas, &format!("{counts:?}"));
    }
}

fn tell(server: &Server, replicas: &[&Replica], wanted: &str) {
    let standing = |replica: &Replica| replica.shards.iter().map(Leadership::standing).collect::<Vec<_>>();
    let told: Vec<_> = replicas.iter().map(|replica| (standing(replica), replica.readiness.report())).collect();
    let leases: Vec<String> = server.leases.lock().values().map(Value::to_string).collect();
    panic!("never {wanted}: {told:#?}, with the Leases {leases:#?}");
}

#[tokio::test]
async fn shards_spread_over_replicas_and_move_when_replicas_come_and_go() {
    let server = Server::default();
    let first = Replica::join("a", 4, &server);
    share(&server, &[&first], &[4]).await;
    let second = Replica::join("b", 4, &server);
    share(&server, &[&first, &second], &[2, 2]).await;
    let third = Replica::join("c", 4, &server);
    let wait = async {
        loop {
            let counts: Vec<usize> = [&first, &second, &third].iter().map(|replica| replica.led().len()).collect();
            if counts.iter().sum::<usize>() == 4 && counts.iter().all(|count| *count > 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        tell(&server, &[&first, &second, &third], "four among three");
    }
    first.leave().await;
    share(&server, &[&second, &third], &[2, 2]).await;
    second.leave().await;
    share(&server, &[&third], &[4]).await;
    assert!(matches!(third.whole.standing(), Standing::Leading(_)));
    third.leave().await;
    let leases = server.leases.lock();
    assert!(leases.values().all(|lease| lease["spec"]["holderIdentity"].is_null()), "{leases:?}");
    let marks = leases["kab.todos.k8sasbackend.com.replicas"]["metadata"]["annotations"].clone();
    assert_eq!(marks, json!({}), "whoever leaves takes its mark along");
}

#[tokio::test]
async fn a_shard_moves_only_when_the_work_in_it_has_ended() {
    let server = Server::default();
    let first = Replica::join("a", 2, &server);
    share(&server, &[&first], &[2]).await;
    let work: Vec<Engagement> = first.shards.iter().map(Leadership::engage).collect();
    let terms: Vec<u64> = first
        .shards
        .iter()
        .map(|shard| match shard.standing() {
            Standing::Leading(term) => term.number,
            other => panic!("{other:?}"),
        })
        .collect();
    let second = Replica::join("b", 2, &server);
    let wait = async {
        while first.led().len() == 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    let given = (0..2).find(|shard| !first.led().contains(shard)).unwrap();
    tokio::time::timeout(Duration::from_secs(5), first.shards[given].clone().lost(terms[given])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(first.shards[given].holds(terms[given]), "what was begun may be brought to its end");
    assert!(second.led().is_empty());
    drop(work);
    share(&server, &[&first, &second], &[1, 1]).await;
    assert_eq!(second.led(), [given]);
}

#[tokio::test]
async fn a_new_number_of_shards_is_in_force_when_nobody_works_by_the_old_one() {
    let server = Server::default();
    let old = Replica::join("a", 1, &server);
    share(&server, &[&old], &[1]).await;
    let new = Replica::join("b", 3, &server);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((old.led().len(), new.led().len()), (1, 0));
    old.leave().await;
    share(&server, &[&new], &[3]).await;
    let back = Replica::join("c", 1, &server);
    new.leave().await;
    share(&server, &[&back], &[1]).await;
    back.leave().await;
}
