//! The `wgccl` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(wgccl::cli::main(std::env::args_os()))
}
