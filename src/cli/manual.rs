//! `portcullis completions` and `portcullis man`, generated from the definitions of the commands.

use std::io;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Outcome, Terminal};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  portcullis completions bash > /usr/share/bash-completion/completions/portcullis\n  portcullis completions zsh > \"${fpath[1]}/_portcullis\"\n  portcullis completions fish > ~/.config/fish/completions/portcullis.fish"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page of this program, or of one of its commands
#[derive(Debug, Args)]
#[command(
    name = "man",
    after_help = "Examples:\n  portcullis man > portcullis.1 && man ./portcullis.1\n  portcullis man grants end > portcullis-grants-end.1"
)]
pub(super) struct Manual {
    /// The command, such as `grants end`; the default is the whole program
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Completions {
    /// `program` is the whole command line interface.
    pub(super) fn run(self, program: &mut Command, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        // the generator panics when a write fails, so it writes to memory
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, "portcullis", &mut script);
        terminal.out.write_all(&script)?;
        Ok(Outcome::Done)
    }
}

impl Manual {
    /// `program` is the whole command line interface.
    pub(super) fn run(self, mut program: Command, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        program.build();
        let Some(command) = self.command.iter().try_fold(&program, |command, name| command.find_subcommand(name))
        else {
            writeln!(terminal.err, "error: there is no command {:?}", self.command.join(" "))?;
            writeln!(terminal.err, "  hint: `portcullis --help` lists them")?;
            return Ok(Outcome::Misused);
        };
        let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        Man::new(command.clone().version(crate::VERSION)).title(title).render(&mut terminal.out)?;
        Ok(Outcome::Done)
    }
}
