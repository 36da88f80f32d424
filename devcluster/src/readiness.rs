//! How a part shows that it serves: an HTTP path that answers 200, or a Kafka broker that answers for itself. One
//! check at a time, each bounded; `process` repeats them. It never interprets anything beyond ready or not.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::HttpClient;

/// One check may take this long; a frozen process accepts connections and never answers.
const CHECK: Duration = Duration::from_secs(2);

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    /// Every one of the addresses answers 200.
    Http { client: HttpClient, urls: Vec<String> },
    /// The controller manager reports on its controllers, and an object that one of them makes is there.
    ///
    /// It answers 200 well before it has built its controllers, and if it loses the API server in between, it ends.
    /// Its report grows from nothing to all of them at the moment when that is over.
    Controllers { client: HttpClient, report: String, object: String },
    /// The broker names at least one broker of its cluster, which it does once it is registered.
    Kafka { address: String },
}

impl Readiness {
    /// `Err` says what was seen instead.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let answer = match self {
            Self::Http { client, urls } => tokio::time::timeout(CHECK, check_http(client, urls)).await,
            Self::Controllers { client, report, object } => {
                tokio::time::timeout(CHECK, check_controllers(client, report, object)).await
            }
            Self::Kafka { address } => tokio::time::timeout(CHECK, check_kafka(address)).await,
        };
        answer.unwrap_or_else(|_| Err(format!("no answer within {CHECK:?}")))
    }
}

async fn check_http(client: &HttpClient, urls: &[String]) -> Result<(), String> {
    for url in urls {
        let (status, body) = client.get(url).await?;
        if !status.is_success() {
            let failing: Vec<_> = body.lines().filter(|line| line.starts_with("[-]")).collect();
            return Err(format!("{url} answered {status} {}", failing.join(", ")));
        }
    }
    Ok(())
}

async fn check_controllers(client: &HttpClient, report: &str, object: &str) -> Result<(), String> {
    check_http(client, &[report.to_owned(), object.to_owned()]).await?;
    let (_, told) = client.get(report).await?;
    if told.contains("namespace-controller") { Ok(()) } else { Err("it has not built its controllers yet".into()) }
}

/// A Metadata request, version 1, for no topic. Its answer begins with the brokers that are registered and unfenced:
/// a broker that accepts connections but has not joined its own controller yet names none.
async fn check_kafka(address: &str) -> Result<(), String> {
    const REQUEST: [u8; 18] = [
        0, 0, 0, 14, // size of what follows
        0, 3, 0, 1, // api key 3 (Metadata), version 1
        0, 0, 0, 1, // correlation id
        0xff, 0xff, // no client id
        0, 0, 0, 0, // no topic
    ];
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.write_all(&REQUEST).await.map_err(|error| error.to_string())?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await.map_err(|error| format!("no metadata: {error}"))?;
    let [.., a, b, c, d] = head;
    match i32::from_be_bytes([a, b, c, d]) {
        brokers if brokers > 0 => Ok(()),
        _ => Err("the broker has not joined its cluster yet".into()),
    }
}
