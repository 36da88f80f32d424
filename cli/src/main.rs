//! `kab`: the command line. Owns the way from arguments to a command and from its failure to an exit code; each command has its own file.

mod arguments;
mod connection;
mod failure;
mod similar;
mod tail;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            // Help and the version were asked for; anything else is a wrong command line.
            return if error.use_stderr() { Failure::Usage(String::new()).exit_code() } else { ExitCode::SUCCESS };
        }
    };
    let done = match arguments.command {
        Command::Tail(options) => tail::run(&options),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `kab tail … | head` has what it wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            drop(writeln!(io::stderr(), "kab: {failure}"));
            failure.exit_code()
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kab", &mut script);
    io::stdout().write_all(&script).map_err(Failure::Output)
}
