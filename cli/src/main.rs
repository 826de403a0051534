//! The `wgccl` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(wgccl_cli::cli::main(std::env::args_os()))
}
