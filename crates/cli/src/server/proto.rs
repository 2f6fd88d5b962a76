//! `longshore proto`: writes the API's proto files, to generate clients from.

use std::path::{Path, PathBuf};

use include_dir::Dir;

use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use longshore_api::FILES;

const EXAMPLES: &str = "\
Examples:
  longshore proto --out proto
  pip install grpcio-tools
  python3 -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \\
    proto/longshore/v1/*.proto proto/google/api/*.proto proto/google/rpc/status.proto

The server has reflection: grpcurl needs no files.";

/// Arguments of `longshore proto`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProtoArgs {
    /// Directory to write to; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace files that are there and differ
    #[arg(long)]
    force: bool,
}

pub(crate) async fn proto(args: &ProtoArgs, console: &Console) -> Result<u8, CliError> {
    // What is there of the path, up to the whole of it.
    if let Some(there) = args.out.ancestors().find(|path| path.symlink_metadata().is_ok())
        && there.metadata().is_ok_and(|metadata| !metadata.is_dir())
    {
        let there = there.display();
        return Err(CliError::usage(format!("--out {}: `{there}` is not a directory; name one", args.out.display())));
    }
    let mut files = Vec::new();
    collect(&FILES, &mut files);
    if !args.force {
        let differing = differing(&args.out, &files);
        if !differing.is_empty() {
            let list = differing.join("\n  ");
            return Err(CliError::usage(format!(
                "these files are there and differ (--force replaces them):\n  {list}"
            )));
        }
    }
    for (path, content) in &files {
        write(&args.out.join(path), content)?;
    }
    console.note(&format!("{} files written to {}", files.len(), args.out.display()));
    Ok(0)
}

fn collect<'a>(directory: &Dir<'a>, files: &mut Vec<(&'a Path, &'a [u8])>) {
    files.extend(directory.files().map(|file| (file.path(), file.contents())));
    for inner in directory.dirs() {
        collect(inner, files);
    }
}

/// Files that are there with another content, or can't be read.
fn differing(out: &Path, files: &[(&Path, &[u8])]) -> Vec<String> {
    let differs = |path: &Path, content: &[u8]| match std::fs::read(path) {
        Ok(present) => present != content,
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    files
        .iter()
        .map(|(path, content)| (out.join(path), content))
        .filter(|(path, content)| differs(path, content))
        .map(|(path, _)| path.display().to_string())
        .collect()
}

fn write(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::Other(anyhow::Error::new(error).context(format!("`{}` cannot be written", path.display())))
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}
