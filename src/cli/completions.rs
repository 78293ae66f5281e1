//! `hrmc completions`.

use clap::Args;
use clap_complete::Shell;

use super::failure::Failure;
use super::project::Devices;
use super::terminal;

const EXAMPLES: &str = "\
Examples:
  hrmc completions bash > ~/.local/share/bash-completion/completions/hrmc
  hrmc completions zsh > ~/.zfunc/_hrmc
  hrmc completions fish > ~/.config/fish/completions/hrmc.fish
The folders have to exist: `mkdir -p` makes them.";

/// Print a script that lets a shell complete the arguments of hrmc.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs `hrmc completions`.
///
/// # Errors
///
/// Returns a failure if standard output cannot be written.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    // The generator panics when its writer fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command_with(devices), "hrmc", &mut script);
    terminal::print(String::from_utf8_lossy(&script))
}
