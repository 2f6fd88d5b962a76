//! The binary (only the verb `shim`, until the command line is there).

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(verb), Some(dir)) if verb == "shim" => longshore::runner::shim::shim(Path::new(&dir)),
        _ => ExitCode::FAILURE,
    }
}
