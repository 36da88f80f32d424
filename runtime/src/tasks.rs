//! Supervised tasks: each has a name, and one that ends before it was asked to ends the process with an error that names it.
//!
//! Shutdown goes by stages, so that what is taken in is still worked off: first the intake stops and finishes, then the work, at last
//! the plumbing. Each stage has a bounded time. The composition root spawns; nobody else starts tasks that live as long as the process.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::shutdown::Shutdown;

/// A task's error, whatever its module calls it.
pub type TaskFailure = Box<dyn Error + Send + Sync>;

/// When a task is asked to end, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Takes in work from outside: servers. Ends first.
    Intake,
    /// Works off what was taken in: watches, bridges.
    Work,
    /// Shows the state of the process: the admin server. Ends last.
    Plumbing,
}

const STAGES: [Stage; 3] = [Stage::Intake, Stage::Work, Stage::Plumbing];

/// Why the process must end with an error.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task ended although nobody asked it to.
    #[error("task {name:?} ended unexpectedly")]
    Ended {
        /// The task.
        name: String,
    },
    /// A task failed.
    #[error("task {name:?} failed")]
    Failed {
        /// The task.
        name: String,
        /// Why.
        source: TaskFailure,
    },
    /// A task panicked.
    #[error("task {name:?} panicked: {message}")]
    Panicked {
        /// The task.
        name: String,
        /// The panic's message.
        message: String,
    },
    /// Tasks did not end in time.
    #[error("failed to end tasks within {seconds} s of being asked: {names}")]
    Late {
        /// The tasks, separated by commas.
        names: String,
        /// The time they had.
        seconds: u64,
    },
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<Result<(), TaskFailure>>,
    running: HashMap<Id, (String, Stage)>,
    intake: CancellationToken,
    work: CancellationToken,
    plumbing: CancellationToken,
}

impl Tasks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. `body` gets the token that asks it to end; ending before, well or not, ends the process.
    pub fn spawn<F, Fut, E>(&mut self, stage: Stage, name: impl Into<String>, body: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskFailure>,
    {
        let name = name.into();
        let span = tracing::info_span!("task", name = %name);
        let future = body(self.token(stage).clone());
        let handle = self.set.spawn(async move { future.await.map_err(Into::into) }.instrument(span));
        self.running.insert(handle.id(), (name, stage));
    }

    /// Runs until `shutdown` is asked for or a task ends by itself; then asks stage by stage, with `drain` for each stage.
    ///
    /// # Errors
    /// The first task that ended by itself, or those that did not end in time.
    pub async fn run(mut self, shutdown: &Shutdown, drain: Duration) -> Result<(), TaskError> {
        let unexpected = tokio::select! {
            () = shutdown.requested() => None,
            error = self.first_end() => Some(error),
        };
        let drained = self.drain(drain).await;
        unexpected.map_or(drained, Err)
    }

    fn token(&self, stage: Stage) -> &CancellationToken {
        match stage {
            Stage::Intake => &self.intake,
            Stage::Work => &self.work,
            Stage::Plumbing => &self.plumbing,
        }
    }

    async fn first_end(&mut self) -> TaskError {
        match self.next().await {
            Some((name, outcome)) => outcome.err().unwrap_or(TaskError::Ended { name }),
            None => std::future::pending().await,
        }
    }

    /// The next task that ends, with its name and, where it failed, how.
    async fn next(&mut self) -> Option<(String, Result<(), TaskError>)> {
        let (id, outcome) = match self.set.join_next_with_id().await? {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.running.remove(&id).map_or_else(|| id.to_string(), |(name, _)| name);
        let outcome = match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(TaskError::Failed { name: name.clone(), source }),
            Err(error) => Err(TaskError::Panicked { name: name.clone(), message: panic_message(error) }),
        };
        Some((name, outcome))
    }

    async fn drain(&mut self, limit: Duration) -> Result<(), TaskError> {
        let mut result = Ok(());
        for stage in STAGES {
            self.token(stage).cancel();
            let in_time = tokio::time::timeout(limit, self.end_of(stage)).await;
            let outcome = in_time.unwrap_or_else(|_| Err(self.late(stage, limit)));
            if let Err(error) = outcome {
                tracing::error!(error = &error as &dyn Error, "shutdown is not orderly");
                result = result.and(Err(error));
            }
        }
        self.set.abort_all();
        result
    }

    async fn end_of(&mut self, stage: Stage) -> Result<(), TaskError> {
        let mut result = Ok(());
        while self.running.values().any(|(_, of)| *of <= stage) {
            match self.next().await {
                Some((_, outcome)) => result = result.and(outcome),
                None => break,
            }
        }
        result
    }

    fn late(&mut self, stage: Stage, limit: Duration) -> TaskError {
        let mut names: Vec<String> =
            self.running.values().filter(|(_, of)| *of <= stage).map(|(name, _)| name.clone()).collect();
        // Told once: the next stages do not wait for them again.
        self.running.retain(|_, (_, of)| *of > stage);
        names.sort();
        TaskError::Late { names: names.join(", "), seconds: limit.as_secs() }
    }
}

fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned()),
        Err(_) => "cancelled".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn quiet(tasks: &mut Tasks, stage: Stage, name: &str) {
        tasks.spawn(stage, name, |token| async move {
            token.cancelled().await;
            Ok::<(), Infallible>(())
        });
    }

    #[tokio::test]
    async fn an_unexpected_end_names_the_task() {
        let mut tasks = Tasks::new();
        quiet(&mut tasks, Stage::Work, "patient");
        tasks.spawn(Stage::Work, "hasty", |_| async { Ok::<(), Infallible>(()) });
        let error = tasks.run(&Shutdown::manual(), LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "task \"hasty\" ended unexpectedly");
    }

    #[tokio::test]
    async fn a_failure_names_the_task_and_keeps_the_cause() {
        let mut tasks = Tasks::new();
        tasks.spawn(Stage::Intake, "server", |_| async { Err(io::Error::other("no more sockets")) });
        let error = tasks.run(&Shutdown::manual(), LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "task \"server\" failed");
        assert_eq!(error.source().unwrap().to_string(), "no more sockets");
    }

    #[tokio::test]
    async fn a_panic_ends_the_process_with_its_message() {
        let mut tasks = Tasks::new();
        tasks.spawn(Stage::Work, "clumsy", |_| async { if true { panic!("oops") } else { Ok::<(), Infallible>(()) } });
        let error = tasks.run(&Shutdown::manual(), LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "task \"clumsy\" panicked: oops");
    }

    #[tokio::test]
    async fn stages_end_one_after_the_other() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::new();
        for (stage, name) in [(Stage::Plumbing, "admin"), (Stage::Work, "watch"), (Stage::Intake, "server")] {
            let order = Arc::clone(&order);
            tasks.spawn(stage, name, move |token| async move {
                token.cancelled().await;
                tokio::task::yield_now().await;
                order.lock().unwrap().push(name);
                Ok::<(), Infallible>(())
            });
        }
        let shutdown = Shutdown::manual();
        shutdown.request();
        tasks.run(&shutdown, LIMIT).await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["server", "watch", "admin"]);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_named_and_the_others_still_end() {
        let mut tasks = Tasks::new();
        quiet(&mut tasks, Stage::Plumbing, "admin");
        tasks.spawn(Stage::Work, "stubborn", |_| std::future::pending::<Result<(), Infallible>>());
        let shutdown = Shutdown::manual();
        shutdown.request();
        let error = tasks.run(&shutdown, Duration::from_millis(20)).await.unwrap_err();
        assert!(error.to_string().contains("stubborn"), "{error}");
        assert!(!error.to_string().contains("admin"), "{error}");
    }
}
