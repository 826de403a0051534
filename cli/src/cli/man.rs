//! `wgccl man`: the manual, a page for the program and one for each command.

use clap::Args;
use clap_mangen::Man;

use super::output::print;
use crate::error::{Error, exit};

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Of which command [default: of the program]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(super) fn man(args: &ManArgs) -> Result<u8, Error> {
    // So that pages and usage lines name commands in full.
    let mut program = super::command();
    program.build();
    let page = match args.command.as_deref() {
        None => Man::new(program),
        Some(name) => match program.find_subcommand(name) {
            Some(command) => Man::new(command.clone()),
            None => {
                let known: Vec<&str> = program.get_subcommands().map(|command| command.get_name()).collect();
                return Err(Error::Usage(format!("there is no command '{name}'; choose one of: {}", known.join(", "))));
            }
        },
    };
    let mut text = Vec::new();
    page.render(&mut text)?;
    print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(exit::OK)
}
