//! From what a request names to the files that hold its tables. Nothing outside the run's files and the data directory
//! is opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RunnerEnv;
use super::builtin::DATASETS;
use super::content::{Content, FILE_BYTES};
use super::error::{RequestViolations, RunError};
use super::mentions::TableMentions;
use super::name::{DEMO, did_you_mean, is_dataset_name, table_name};
use super::request::{DataChoice, FILES, FileRef};

/// One table to be, and where its rows are.
#[derive(Debug, Clone)]
pub(super) struct TableSource {
    /// The table's name.
    pub(super) table: String,
    /// The file as messages call it.
    pub(super) label: String,
    pub(super) content: Content,
}

/// Finds the files of `choice`. In a data set what the statement does not mention may be broken.
///
/// # Errors
/// [`RunError::Validation`] with every file that is missing, is not a file, is too large or lies elsewhere, with the
/// data sets there are, or with the data directory if it can't be read.
pub(super) fn resolve(
    choice: &DataChoice,
    env: &RunnerEnv,
    mentions: &TableMentions,
) -> Result<Vec<TableSource>, RunError> {
    let mut violations = RequestViolations::default();
    // Whatever is asked for: a data directory that is not there is a mistake of the operator's, which nobody would
    // notice if some requests were answered without it.
    check_data_directory(env, &mut violations);
    let sources = match choice {
        DataChoice::Dataset(name) => dataset(name, env, mentions, &mut violations),
        DataChoice::Files(files) => {
            let resolved = files.iter().enumerate().map(|(index, file)| (index, file, run_file(file, env)));
            let mut sources = Vec::with_capacity(files.len());
            for (index, file, path) in resolved {
                match path {
                    Ok(path) => sources.push(source(&file.table, &file.path, path)),
                    Err(problem) => violations.add(format!("files[{index}].path"), problem),
                }
            }
            sources
        }
    };
    violations.into_result()?;
    Ok(sources)
}

fn source(table: &str, label: &str, path: PathBuf) -> TableSource {
    TableSource { table: table.to_owned(), label: label.to_owned(), content: Content::File(path) }
}

fn check_data_directory(env: &RunnerEnv, violations: &mut RequestViolations) {
    let Some(root) = &env.data else { return };
    if let Err(error) = fs::read_dir(root) {
        let problem = format!("must be a directory that can be read; {} can't: {error}", root.display());
        violations.add("LONGSHORE_DATA", problem);
    }
}

/// The real path of one of the run's files.
fn run_file(file: &FileRef, env: &RunnerEnv) -> Result<PathBuf, String> {
    let path = Path::new(&file.path);
    let shown = &file.path;
    if path.is_absolute() {
        let roots: Vec<&Path> = [&env.files, &env.data].into_iter().flatten().map(PathBuf::as_path).collect();
        return within(path, &roots, shown);
    }
    let Some(root) = &env.files else {
        return Err(format!("{shown:?}: this run has no files (LONGSHORE_FILES is not set)"));
    };
    within(&root.join(path), &[root], shown)
}

/// The real path of `path`, symbolic links resolved, which must be a file inside one of `roots`.
fn within(path: &Path, roots: &[&Path], shown: &str) -> Result<PathBuf, String> {
    let outside = || format!("{shown:?} lies outside the run's files and the data directory");
    let inside = |real: &Path| roots.iter().any(|root| root.canonicalize().is_ok_and(|root| real.starts_with(root)));
    // A path that is outside by its text alone gets the same answer whether it exists or not.
    let textually_inside = roots.iter().any(|root| path.starts_with(root));
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(_) if !textually_inside || has_parent_step(path) => return Err(outside()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!(
                "{shown:?} is not there; send it with the run (`files`, or --file), or correct the path"
            ));
        }
        Err(error) => return Err(format!("{shown:?} can't be read: {error}")),
    };
    if !inside(&real) {
        return Err(outside());
    }
    let found = fs::metadata(&real).map_err(|error| format!("{shown:?} can't be read: {error}"))?;
    if !found.is_file() {
        return Err(format!("{shown:?} is not a file"));
    }
    if found.len() > FILE_BYTES {
        return Err(format!("{shown:?} has {} bytes; at most {FILE_BYTES} are read", found.len()));
    }
    Ok(real)
}

fn has_parent_step(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

/// The tables of a data set: of one that is compiled in if its name begins with `demo/`, else of the data directory.
fn dataset(
    name: &str,
    env: &RunnerEnv,
    mentions: &TableMentions,
    violations: &mut RequestViolations,
) -> Vec<TableSource> {
    if let Some(found) = DATASETS.iter().find(|dataset| dataset.name == name) {
        return found.files.iter().filter_map(|(file, text)| built_in(name, file, text)).collect();
    }
    if let Some(root) = env.data.as_ref().filter(|_| is_dataset_name(name)) {
        let directory = root.join(name);
        // One that can't be looked at is named with the reason as it is read.
        if is_directory(&directory).unwrap_or(true) {
            return directory_tables(name, &directory, root, mentions, violations);
        }
    }
    let available = available(env);
    let hint = match DATASETS.iter().find(|dataset| dataset.name.strip_prefix(DEMO) == Some(name)) {
        Some(demo) => format!("; did you mean {:?}?", demo.name),
        None => did_you_mean(name, available.iter().map(String::as_str)),
    };
    let unset = if env.data.is_none() { "; LONGSHORE_DATA is not set" } else { "" };
    let names = available.join(", ");
    violations.add("dataset", format!("data set {name:?} not found{hint} (available: {names}{unset})"));
    Vec::new()
}

fn built_in(dataset: &str, file: &str, text: &'static str) -> Option<TableSource> {
    let table = table_name(file).ok()?;
    Some(TableSource { table, label: format!("{dataset}/{file}"), content: Content::BuiltIn(text) })
}

fn directory_tables(
    name: &str,
    directory: &Path,
    root: &Path,
    mentions: &TableMentions,
    violations: &mut RequestViolations,
) -> Vec<TableSource> {
    let files = match data_files(directory) {
        Ok(files) => files,
        Err(error) => {
            violations.add("dataset", format!("{name:?} can't be read: {error}"));
            return Vec::new();
        }
    };
    if files.is_empty() || files.len() > FILES {
        violations.add(
            "dataset",
            format!(
                "{name:?} must have 1 to {FILES} files (*.csv, *.tsv, *.json, *.jsonl, each also *.gz), not {}",
                files.len()
            ),
        );
        return Vec::new();
    }
    let mut sources: Vec<TableSource> = Vec::with_capacity(files.len());
    for file in files {
        let label = format!("{name}/{file}");
        // A name that can't be a table's can't be mentioned either.
        let Ok(table) = table_name(&file) else { continue };
        let twice = sources.iter().any(|other| other.table.eq_ignore_ascii_case(&table));
        let path = within(&directory.join(&file), &[root], &label);
        match path {
            _ if twice && mentions.table(&table) => {
                violations.add("dataset", format!("{label:?}: table {table:?} is there twice"));
            }
            _ if twice => {}
            Ok(path) => sources.push(source(&table, &label, path)),
            Err(problem) if mentions.table(&table) => violations.add("dataset", format!("{label:?}: {problem}")),
            Err(_) => {}
        }
    }
    sources
}

/// The names of the files that can be tables and are not hidden, sorted.
fn data_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if is_data_file(&name) && !name.starts_with('.') && !is_directory(&path).unwrap_or(false) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether there is a directory; `Err`: that is not known.
fn is_directory(path: &Path) -> std::io::Result<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_data_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let extension = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "csv" | "tsv" | "json" | "jsonl" | "ndjson")
}

/// The names of all data sets, sorted.
fn available(env: &RunnerEnv) -> Vec<String> {
    let entries = env.data.as_ref().and_then(|root| fs::read_dir(root).ok());
    let directories = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_directory(path).unwrap_or(false));
    let mut names: Vec<String> = directories
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| is_dataset_name(name))
        .chain(DATASETS.iter().map(|dataset| dataset.name.to_owned()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
