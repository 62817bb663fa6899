//! The `kdata` binary: read the settings, parse, run, report an error, map it to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kdata::cli::main()
}
