//! `wgccl completions`: what a shell reads to complete command lines.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::output::print;
use super::values::Names;
use crate::error::{Error, exit};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_parser = shell())]
    shell: Shell,
}

fn shell() -> Names<Shell> {
    Names::new(["bash", "elvish", "fish", "powershell", "zsh"], |text| Shell::from_str(text, true))
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), super::NAME, &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(exit::OK)
}
