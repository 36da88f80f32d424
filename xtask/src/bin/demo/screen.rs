//! How the demo looks on a terminal: headings, steps, commands and what they gave. Colours only where a person looks.
#![expect(clippy::print_stdout, reason = "the demo talks to a person at a terminal")]

use std::io::IsTerminal;
use std::time::Instant;

/// The terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    steps: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(), steps: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A title.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }

    /// A plain line.
    pub(crate) fn say(&self, text: &str) {
        println!("{text}");
    }

    /// The next step of the tour.
    pub(crate) fn step(&mut self, text: &str) {
        self.steps += 1;
        println!("\n{} {}", self.paint("1;36", &format!("{:>2}.", self.steps)), self.paint("1", text));
    }

    /// A command, as a person would type it.
    pub(crate) fn command(&self, text: &str) {
        println!("    {}", self.paint("33", &format!("$ {text}")));
    }

    /// What a command gave, indented.
    pub(crate) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("    {}", self.paint("2", line));
        }
    }

    /// What was checked and held.
    pub(crate) fn held(&self, text: &str) {
        println!("    {} {text}", self.paint("32", "✓"));
    }

    /// Something that takes a while: says what, then how long it took.
    pub(crate) async fn during<T>(
        &self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        println!("  … {what}");
        let done = work.await?;
        println!("  {} {what} ({:.1} s)", self.paint("32", "✓"), start.elapsed().as_secs_f64());
        Ok(done)
    }
}
