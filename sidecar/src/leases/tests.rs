//! The keeper against an API server faked beneath the client.

use parking_lot::Mutex;
use runtime::readiness::{Need, Readiness};
use serde_json::{Value, json};

use super::*;
use crate::fake::{self, Asked, Log, Reply, todos};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";

/// An API server with at most one Lease, which knows versions.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut lease = self.lease.lock();
        let method = asked.line.split(' ').next().unwrap_or_default();
        let told: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        match (method, &mut *lease) {
            ("GET", Some(lease)) => Reply::Json(200, lease.to_string()),
            ("GET", None) => fake::status(404, "NotFound", "no such lease"),
            ("POST", None) => {
                let mut made = told;
                made["metadata"]["resourceVersion"] = json!("1");
                *lease = Some(made.clone());
                Reply::Json(201, made.to_string())
            }
            ("PATCH", Some(lease)) if told["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"] => {
                let version: u64 = lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                for (name, value) in told["spec"].as_object().unwrap() {
                    lease["spec"][name] = value.clone();
                }
                lease["metadata"]["resourceVersion"] = json!((version + 1).to_string());
                Reply::Json(200, lease.to_string())
            }
            ("PATCH" | "POST", Some(_)) => fake::status(409, "Conflict", "the object has been modified"),
            _ => fake::status(404, "NotFound", "no such lease"),
        }
    }
}

struct Kept {
    leadership: Leadership,
    readiness: Readiness,
    log: Log,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Infallible>>,
}

fn keep(process: &str, app: Option<&str>, serve: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Kept {
    let (client, log) = fake::client(serve);
    let ((whole, leadership), (announcer, _)) = (leadership(), super::leadership());
    let readiness = Readiness::new();
    let seconds = Duration::from_secs;
    let keeper = Keeper {
        client,
        kind: Arc::new(todos()),
        scope: Some("shop".into()),
        home: "home".to_owned(),
        purpose: Purpose::Own,
        identity: Identity {
            process: process.to_owned(),
            app: app.map(str::to_owned),
            durations: Durations { lease: seconds(10), renew: seconds(6), retry: Duration::from_millis(50) },
        },
        whole,
        shards: vec![announcer],
        part: readiness.part("lease Todo", Need::Reported),
        metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
    };
    let stop = CancellationToken::new();
    let ended = tokio::spawn(keeper.run(stop.clone()));
    Kept { leadership, readiness, log, stop, ended }
}

impl Kept {
    /// Waits until what is known is as asked.
    async fn until(&mut self, what: &str, is: impl Fn(&Standing) -> bool) -> Standing {
        let wait = async {
            loop {
                let standing = self.leadership.standing();
                if is(&standing) {
                    return standing;
                }
                self.leadership.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never {what}"))
    }

    fn detail(&self) -> String {
        let report = serde_json::to_value(self.readiness.report()).unwrap();
        format!(
            "{} {}",
            report["parts"][0]["state"].as_str().unwrap(),
            report["parts"][0]["detail"].as_str().unwrap_or("")
        )
    }
}

fn is_leading(standing: &Standing) -> bool {
    matches!(standing, Standing::Leading(_))
}

#[tokio::test]
async fn the_first_leads_the_second_stands_by_and_a_graceful_end_hands_over_at_once() {
    let server = Server::default();
    let serve = |server: &Server| {
        let server = server.clone();
        move |asked: &Asked| server.answer(asked)
    };
    let mut first = keep("a", Some("shop"), serve(&server));
    let Standing::Leading(term) = first.until("the first leads", is_leading).await else { unreachable!() };
    assert!(first.leadership.holds(term.number) && !first.leadership.holds(term.number + 1));
    assert_eq!(
        first.log.lines()[..2],
        [format!("GET {PATH}/kab.todos.k8sasbackend.com.0"), format!("POST {PATH}?fieldManager=kab-sidecar"),]
    );
    assert_eq!(first.detail(), "up ");

    let mut second = keep("b", Some("shop"), serve(&server));
    second
        .until("the second stands by", |standing| *standing == Standing::Standby { holder: Some("a".to_owned()) })
        .await;
    assert_eq!(second.detail(), "up standby: a leads");

    first.stop.cancel();
    first.ended.await.unwrap().unwrap();
    assert!(!first.leadership.holds(term.number), "it ends its term before it hands over");
    let Standing::Leading(next) = second.until("the second leads", is_leading).await else { unreachable!() };
    assert_eq!((term.epoch, next.epoch), (0, 1));
}

#[tokio::test]
async fn another_application_is_told_what_to_do_and_never_leads() {
    let server = Server::default();
    *server.lease.lock() = Some(json!({
        "metadata": {"resourceVersion": "3", "annotations": {"k8sasbackend.com/app": "crm"}},
        "spec": {"leaseDurationSeconds": 1},
    }));
    let mut kept = keep("a", Some("shop"), move |asked| server.answer(asked));
    kept.until("told apart", |standing| *standing == Standing::Foreign { app: "crm".to_owned() }).await;
    let expected = "down application \"crm\" owns Todo here: this sidecar only consumes; if that is over, hand it on with \
                    `kubectl delete lease kab.todos.k8sasbackend.com.0 -n shop`";
    assert_eq!(kept.detail(), expected);
    kept.stop.cancel();
    kept.ended.await.unwrap().unwrap();
    assert!(kept.log.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", kept.log.lines());
}

#[tokio::test]
async fn who_may_not_touch_leases_is_told_which_rights_are_missing() {
    let kept = keep("a", None, |_| fake::status(403, "Forbidden", "leases is forbidden"));
    let wait = async {
        while !kept.detail().contains("let the sidecar's user get, create and patch leases") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{}", kept.detail()));
    assert!(
        kept.detail().starts_with("down the Lease cannot be read or written: leases is forbidden"),
        "{}",
        kept.detail()
    );
    assert_eq!(kept.leadership.standing(), Standing::Unknown);
    kept.stop.cancel();
}
