//! The command line: its words, and the help that explains them. Never looks at the world.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks at what sidecars broadcast.
#[derive(Debug, Parser)]
#[command(name = "kab", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Tail(Tail),
    /// Print a script that completes kab's words in a shell.
    ///
    /// For bash: kab completions bash > ~/.local/share/bash-completion/completions/kab
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Print a topic's records, one a line.
///
/// Like tail(1): the last 10 records, and with -f those that come from then on. A line shows when, what happened, to which entity, its
/// version, and what changed since the record before of that entity, where that one was read too. Only committed records are read, no
/// consumer group is joined and nothing is stored, so looking on changes nothing for anybody.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_TAIL, after_help = "More, with examples and exit codes: kab tail --help")]
pub(crate) struct Tail {
    /// The topic: GROUP.PLURAL of a kind unless its sidecar names another, such as k8sasbackend.com.todos.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) topic: String,
    /// Go on with each record that comes; end with Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last records to begin with; 0 with -f for new ones alone.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, conflicts_with = "from_beginning")]
    pub(crate) lines: usize,
    /// Begin with the first record that the topic still has.
    #[arg(short = 'b', long)]
    pub(crate) from_beginning: bool,
    /// Only the records of one entity, by its key: NAMESPACE/ID, or ID where its kind has no namespaces.
    #[arg(short, long, value_name = "NS/ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    /// text for people; json for programs: one object a line with key, event, version, all headers and the value.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// No colours, also on a terminal. The variable NO_COLOR does the same.
    #[arg(long)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How to reach Kafka.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct Connection {
    /// Brokers to begin with.
    #[arg(long, env = "KAB_KAFKA", value_name = "HOST:PORT,…")]
    pub(crate) brokers: Option<String>,
    /// A sidecar's configuration file: its kafka.properties, kafka.propertyFiles and kafka.tokenFile are used.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A librdkafka property, such as security.protocol=ssl; may be given several times.
    #[arg(short = 'X', long = "property", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) properties: Vec<(String, String)>,
    /// A librdkafka property whose value stands in a file, such as sasl.password=/run/secrets/kafka; may be given several times.
    #[arg(long = "property-file", value_name = "NAME=FILE", value_parser = pair)]
    pub(crate) property_files: Vec<(String, String)>,
    /// The file with the token for sasl.mechanisms=OAUTHBEARER.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How long Kafka may take to answer at first.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

const AFTER_TAIL: &str = "\
Where the brokers come from:
  -X bootstrap.servers=… wins over --brokers, that over KAB_KAFKA, and that over the file of --config. Every other property comes from the
  file, and -X and --property-file win over it. A password in -X is visible to other users of the machine: use --property-file.

Examples:
  kab tail k8sasbackend.com.todos                      the last 10 records
  kab tail k8sasbackend.com.todos -f -n 0              what happens from now on
  kab tail k8sasbackend.com.todos -b -k shop/buy-milk  what the topic still has of one entity
  kab tail k8sasbackend.com.todos -b -o json | jq -r 'select(.event == \"deleted\") | .key'
  kab tail k8sasbackend.com.todos --config /etc/kab/sidecar.yaml

What the lines mean:
  created, updated, deleted   the change; with deleted comes the last known state
  snapshot                    a state that was met in a list: what led to it is not known
  tombstone                   Kafka may forget the key
  (2 versions passed over)    the entity changed so often in between without a record of its own
  A topic is compacted: of what is old only the last record of each entity is left. Records of several partitions are sorted by time among
  the last N, and told as they come otherwise.

Exit codes:
  0 all is told   64 wrong command line or file   66 no such topic   69 no broker answers   74 output failed   77 Kafka refuses";

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
