//! `kab tail`: reads a topic's committed records and prints them.
//!
//! Owns the reading: where each partition begins, when all of it is read, what a trouble on the way means. What a record looks like stands
//! in its parts. Joins no group, commits nothing, makes no topic.

mod change;
mod last;
mod memory;
mod record;
mod text;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::arguments::{Output, Tail};
use crate::connection::{self, EVENTS, Properties, Words};
use crate::failure::Failure;
use crate::similar::similar;
use last::Last;
use memory::Memory;
use record::Record;
use text::Style;

/// How long one look for records takes at most.
const POLL: Duration = Duration::from_millis(200);
/// How often a follower asks for new partitions, and whether the topic is still there.
const LOOK: Duration = Duration::from_secs(10);
/// How many offsets are read at first for each of the last records: transactions, compaction and other keys leave gaps.
const GENEROSITY: i64 = 20;

/// Prints what `options` ask for.
pub(crate) fn run(options: &Tail) -> Result<(), Failure> {
    let properties = Properties::of(&options.connection)?;
    let reader = Reader { consumer: properties.consumer()?, options, properties: &properties };
    let partitions = reader.partitions()?;
    let mut printer = Printer::new(options);
    if options.from_beginning {
        reader.stream(partitions, Offset::Beginning, printer)
    } else if options.lines == 0 {
        if options.follow { reader.stream(partitions, Offset::End, printer) } else { Ok(()) }
    } else {
        let rest = reader.last(partitions, &mut printer)?;
        if options.follow { reader.go_on(rest, printer) } else { Ok(()) }
    }
}

/// Reads one topic.
struct Reader<'a> {
    consumer: BaseConsumer<Words>,
    options: &'a Tail,
    properties: &'a Properties,
}

impl Reader<'_> {
    /// The topic's partitions; a topic that is not there is told with those that look like it.
    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        let topic = &self.options.topic;
        let doing = format!("ask for topic {topic}");
        let metadata = self.patiently(&doing, |limit| self.consumer.fetch_metadata(Some(topic), limit))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error().map(RDKafkaErrorCode::from), found)) {
            Some((None, found)) => Ok(found.partitions().iter().map(|partition| partition.id()).collect()),
            None | Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic), _)) => {
                Err(Failure::Missing(self.missing()))
            }
            Some((Some(RDKafkaErrorCode::InvalidTopic), _)) => {
                Err(Failure::Missing(format!("{topic:?} cannot be a topic's name")))
            }
            Some((Some(code), _)) => Err(self.failure(&doing, &KafkaError::MetadataFetch(code))),
        }
    }

    /// Asks again while there is time: while it waits, librdkafka may say why it takes long.
    fn patiently<T>(&self, doing: &str, ask: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, Failure> {
        let (begun, limit) = (Instant::now(), self.properties.timeout);
        loop {
            let left = limit.saturating_sub(begun.elapsed()).clamp(Duration::from_millis(100), Duration::from_secs(1));
            let error = match ask(left) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Errors of connections come by the way of records, behind log lines; without a wait the first line would look like the end.
            while self.consumer.poll(EVENTS).is_some() {}
            let failure = self.failure(doing, &error);
            if matches!(failure, Failure::Denied(_)) || begun.elapsed() >= limit {
                return Err(failure);
            }
        }
    }

    fn failure(&self, doing: &str, error: &KafkaError) -> Failure {
        connection::failure(doing, self.properties.brokers(), error, self.consumer.context())
    }

    fn missing(&self) -> String {
        let topic = &self.options.topic;
        let metadata = self.consumer.fetch_metadata(None, self.properties.timeout);
        let mut names: Vec<&str> = metadata.iter().flat_map(|all| all.topics()).map(|topic| topic.name()).collect();
        names.retain(|name| !name.starts_with("__"));
        names.sort_unstable();
        match (similar(topic, names.iter().copied()).as_slice(), names.as_slice()) {
            (_, []) => format!("there is no topic {topic}, and no other that may be seen"),
            ([], names) if names.len() <= 20 => format!("there is no topic {topic}; there are {}", names.join(", ")),
            ([], names) => format!("there is no topic {topic}, and none of the other {} looks like it", names.len()),
            (alike, _) => format!("there is no topic {topic}; did you mean {}?", alike.join(" or ")),
        }
    }

    fn assign(&self, from: impl Iterator<Item = (i32, Offset)>) -> Result<(), Failure> {
        let mut assignment = TopicPartitionList::new();
        let done = from
            .map(|(partition, offset)| assignment.add_partition_offset(&self.options.topic, partition, offset))
            .collect::<Result<Vec<()>, _>>()
            .and_then(|_| self.consumer.assign(&assignment));
        done.map_err(|error| self.failure("assign partitions", &error))
    }

    /// Prints from `from` on: to the end of each partition, or for ever.
    fn stream(&self, partitions: BTreeSet<i32>, from: Offset, printer: Printer<'_>) -> Result<(), Failure> {
        // `End` would be looked up only with the first poll: what comes in between would be missed.
        let from: Vec<(i32, Offset)> = match from {
            Offset::End => {
                self.bounds(&partitions)?.into_iter().map(|(id, _, end)| (id, Offset::Offset(end))).collect()
            }
            other => partitions.iter().map(|id| (*id, other)).collect(),
        };
        self.assign(from.into_iter())?;
        self.go_on(Rest { open: partitions.clone(), known: partitions }, printer)
    }

    /// First and next offset of each partition, as a read_committed reader sees them.
    fn bounds(&self, partitions: &BTreeSet<i32>) -> Result<Vec<(i32, i64, i64)>, Failure> {
        let topic = &self.options.topic;
        let ask = |id: &i32| {
            let (low, high) = self.patiently(&format!("ask for the ends of topic {topic}"), |limit| {
                self.consumer.fetch_watermarks(topic, *id, limit)
            })?;
            Ok((*id, low, high))
        };
        partitions.iter().map(ask).collect()
    }

    /// Prints the last records, sorted by time; looks further back until there are enough of them or there are no more.
    fn last(&self, partitions: BTreeSet<i32>, printer: &mut Printer<'_>) -> Result<Rest, Failure> {
        let bounds = self.bounds(&partitions)?;
        let wanted = i64::try_from(self.options.lines).unwrap_or(i64::MAX);
        let mut back = wanted.saturating_mul(GENEROSITY);
        loop {
            let begin = |low: i64, end: i64| end.saturating_sub(back).max(low);
            self.assign(bounds.iter().map(|(id, low, end)| (*id, Offset::Offset(begin(*low, *end)))))?;
            let mut last = Last::new(self.options.lines);
            let mut memory = Memory::default();
            let mut open: BTreeSet<i32> =
                bounds.iter().filter(|(_, low, end)| begin(*low, *end) < *end).map(|(id, ..)| *id).collect();
            let mut silent = Instant::now();
            while !open.is_empty() {
                match self.next(&mut silent)? {
                    Next::Record(record) if self.wants(&record) => {
                        let change = memory.change(&record);
                        last.put(record, change);
                    }
                    Next::Record(_) | Next::Nothing => {}
                    Next::End(partition) => drop(open.remove(&partition)),
                }
            }
            if last.is_full() || bounds.iter().all(|(_, low, end)| begin(*low, *end) <= *low) {
                for (record, change) in last.into_sorted() {
                    printer.print(&record, &change)?;
                }
                printer.flush()?;
                printer.memory = memory;
                return Ok(Rest { open: BTreeSet::new(), known: partitions });
            }
            back = back.saturating_mul(10);
        }
    }

    /// Prints what comes.
    fn go_on(&self, mut rest: Rest, mut printer: Printer<'_>) -> Result<(), Failure> {
        let mut silent = Instant::now();
        let mut looked = Instant::now();
        let mut away = false;
        while self.options.follow || !rest.open.is_empty() {
            match self.next(&mut silent)? {
                Next::Record(record) if self.wants(&record) => {
                    let change = printer.memory.change(&record);
                    printer.print(&record, &change)?;
                }
                Next::Record(_) => {}
                Next::Nothing => printer.flush()?,
                Next::End(partition) => {
                    rest.open.remove(&partition);
                    printer.flush()?;
                }
            }
            if self.options.follow && looked.elapsed() >= LOOK {
                self.look(&mut rest, &mut away)?;
                looked = Instant::now();
            }
        }
        printer.flush()
    }

    /// Whether the topic has changed. That no broker answers is told once, and waited for.
    fn look(&self, rest: &mut Rest, away: &mut bool) -> Result<(), Failure> {
        let now = match self.partitions() {
            Ok(now) => now,
            Err(Failure::Unavailable(why)) => {
                if !std::mem::replace(away, true) {
                    say(&format!("{why}; waiting"));
                }
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        if std::mem::replace(away, false) {
            say("Kafka answers again");
        }
        let mut new = TopicPartitionList::new();
        for id in now.difference(&rest.known) {
            new.add_partition_offset(&self.options.topic, *id, Offset::Beginning)
                .map_err(|error| self.failure("assign partitions", &error))?;
        }
        if new.count() > 0 {
            self.consumer.incremental_assign(&new).map_err(|error| self.failure("assign partitions", &error))?;
        }
        rest.known.extend(now);
        Ok(())
    }

    fn wants(&self, record: &Record) -> bool {
        self.options.key.as_deref().is_none_or(|key| key == record.key)
    }

    /// One look. What goes wrong is only a failure when it lasts, and never while following.
    fn next(&self, silent: &mut Instant) -> Result<Next, Failure> {
        let doing = || format!("read topic {}", self.options.topic);
        let outcome = self.consumer.poll(POLL);
        let patient = self.options.follow || silent.elapsed() < self.properties.timeout;
        if matches!(outcome, Some(Ok(_) | Err(KafkaError::PartitionEOF(_)))) {
            *silent = Instant::now();
        }
        match outcome {
            Some(Ok(message)) => Ok(Next::Record(Record::of(&message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Next::End(partition)),
            Some(Err(error)) => match (error.rdkafka_error_code(), self.failure(&doing(), &error)) {
                // No group is joined: that its name may not be used is of no interest.
                (Some(RDKafkaErrorCode::GroupAuthorizationFailed), _) => Ok(Next::Nothing),
                (_, denied @ Failure::Denied(_)) => Err(denied),
                (_, other) if !patient => Err(other),
                _ => Ok(Next::Nothing),
            },
            None if !patient => {
                let error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                Err(self.failure(&doing(), &error))
            }
            None => Ok(Next::Nothing),
        }
    }
}

/// What one look brought.
enum Next {
    Record(Record),
    End(i32),
    Nothing,
}

/// The partitions that are known, and those of them whose end was not reached yet.
struct Rest {
    open: BTreeSet<i32>,
    known: BTreeSet<i32>,
}

/// Writes records.
struct Printer<'a> {
    options: &'a Tail,
    style: Style,
    memory: Memory,
    out: BufWriter<StdoutLock<'static>>,
}

impl<'a> Printer<'a> {
    fn new(options: &'a Tail) -> Self {
        let unwanted = options.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = if !unwanted && io::stdout().is_terminal() { Style::Colour } else { Style::Plain };
        Self { options, style, memory: Memory::default(), out: BufWriter::new(io::stdout().lock()) }
    }

    fn print(&mut self, record: &Record, change: &change::Change) -> Result<(), Failure> {
        match self.options.output {
            Output::Text => writeln!(self.out, "{}", text::line(record, change, self.style)),
            Output::Json => {
                serde_json::to_writer(&mut self.out, record).map_err(Into::into).and_then(|()| writeln!(self.out))
            }
        }
        .map_err(Failure::Output)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }
}

fn say(text: &str) {
    drop(writeln!(io::stderr(), "kab: {text}"));
}
