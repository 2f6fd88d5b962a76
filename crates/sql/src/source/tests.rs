use std::os::unix::fs::symlink;

use super::*;

/// `files/` and `data/` as a run sees them, and a secret beside them.
struct World {
    _root: tempfile::TempDir,
    root: PathBuf,
    env: RunnerEnv,
}

/// What a statement that may use all tables mentions.
fn everything() -> TableMentions {
    mentions("SELECT * FROM sqlite_schema")
}

fn mentions(sql: &str) -> TableMentions {
    let tokens =
        sqlparser::tokenizer::Tokenizer::new(&sqlparser::dialect::SQLiteDialect {}, sql).tokenize_with_location();
    TableMentions::of(&tokens.unwrap())
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for dir in ["files/sub", "files-2", "data/sales/dir.csv", "data/empty", "data/bad", "data/shop"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in [
            "secret.csv",
            "files/a.csv",
            "files/sub/b.csv",
            "files-2/c.csv",
            "data/sales/north.csv",
            "data/sales/South.CSV",
            "data/sales/.hidden.csv",
            "data/sales/notes.txt",
            "data/sales/west.csv.gz",
            "data/sales/east.JSONL",
            "data/bad/my-data.csv",
            "data/bad/x.csv",
            "data/bad/X.csv",
            "data/shop/own.csv",
        ] {
            fs::write(root.join(file), "a,b\n1,2\n").unwrap();
        }
        symlink(root.join("secret.csv"), root.join("files/escape.csv")).unwrap();
        symlink(root.join("files/sub/b.csv"), root.join("files/inside.csv")).unwrap();
        symlink(root.join("secret.csv"), root.join("data/bad/escape.csv")).unwrap();
        symlink(root.join("loop.csv"), root.join("loop.csv")).unwrap();
        let env = RunnerEnv { files: Some(root.join("files")), data: Some(root.join("data")), ..RunnerEnv::default() };
        Self { _root: temp, root, env }
    }

    fn at(&self, path: &str) -> String {
        self.root.join(path).to_str().unwrap().to_owned()
    }

    fn file(&self, path: &str) -> Result<PathBuf, String> {
        run_file(&FileRef { table: "t".into(), path: path.into() }, &self.env)
    }

    fn dataset(&self, name: &str) -> Result<Vec<TableSource>, String> {
        resolve(&DataChoice::Dataset(name.into()), &self.env, &everything()).map_err(|error| error.to_string())
    }
}

#[test]
fn paths_inside_are_found() {
    let world = World::new();
    for (path, real) in [
        ("a.csv".to_owned(), "files/a.csv"),
        ("sub/b.csv".to_owned(), "files/sub/b.csv"),
        ("sub/../a.csv".to_owned(), "files/a.csv"),
        ("inside.csv".to_owned(), "files/sub/b.csv"),
        (world.at("files/a.csv"), "files/a.csv"),
        (world.at("data/sales/north.csv"), "data/sales/north.csv"),
    ] {
        assert_eq!(world.file(&path), Ok(world.root.join(real)), "{path}");
    }
}

#[test]
fn paths_outside_are_refused_and_reveal_nothing() {
    let world = World::new();
    for path in [
        "/etc/passwd".to_owned(),
        "/no/such/file.csv".to_owned(),
        "../secret.csv".to_owned(),
        "../nothing.csv".to_owned(),
        "sub/../../secret.csv".to_owned(),
        "escape.csv".to_owned(),
        world.at("secret.csv"),
        world.at("files-2/c.csv"),
        world.at("files/../secret.csv"),
        world.at("files/escape.csv"),
    ] {
        let problem = world.file(&path).unwrap_err();
        assert!(problem.ends_with("lies outside the run's files and the data directory"), "{problem}");
    }
}

#[test]
fn unusable_files_are_named() {
    let world = World::new();
    assert!(world.file("missing.csv").unwrap_err().contains("is not there"));
    assert!(world.file("sub").unwrap_err().contains("is not a file"));
    let huge = fs::File::create(world.root.join("files/huge.csv")).unwrap();
    huge.set_len(FILE_BYTES + 1).unwrap();
    assert!(world.file("huge.csv").unwrap_err().contains("at most 268435456 are read"));

    let nothing = RunnerEnv::default();
    let relative = FileRef { table: "t".into(), path: "a.csv".into() };
    assert!(run_file(&relative, &nothing).unwrap_err().contains("LONGSHORE_FILES is not set"));
    let absolute = FileRef { table: "t".into(), path: world.at("files/a.csv") };
    assert!(run_file(&absolute, &nothing).unwrap_err().contains("outside"));
}

#[test]
fn every_bad_file_is_reported() {
    let world = World::new();
    let file = |path: &str| FileRef { table: "t".into(), path: path.into() };
    let choice = DataChoice::Files(vec![file("missing.csv"), file("a.csv"), file("/etc/passwd")]);
    let text = resolve(&choice, &world.env, &everything()).unwrap_err().to_string();
    assert!(text.contains("files[0].path") && text.contains("files[2].path") && !text.contains("files[1]"), "{text}");
}

#[test]
fn a_data_set_is_a_directory_of_csv_files() {
    let world = World::new();
    let tables: Vec<String> = world.dataset("sales").unwrap().into_iter().map(|source| source.table).collect();
    assert_eq!(tables, ["South", "east", "north", "west"]);
}

#[test]
fn built_in_data_is_never_taken_for_the_operators() {
    let world = World::new();
    assert_eq!(world.dataset("shop").unwrap()[0].table, "own");
    assert!(matches!(world.dataset("demo/shop").unwrap()[0].content, Content::BuiltIn(_)));
    assert_eq!(
        world.dataset("support").unwrap_err(),
        "dataset: data set \"support\" not found; did you mean \"demo/support\"? \
         (available: bad, demo/shop, demo/support, empty, sales, shop)"
    );
    let unset =
        resolve(&DataChoice::Dataset("shop".into()), &RunnerEnv::default(), &everything()).unwrap_err().to_string();
    assert!(unset.ends_with("(available: demo/shop, demo/support; LONGSHORE_DATA is not set)"), "{unset}");
}

#[test]
fn a_data_directory_that_is_set_must_be_there() {
    let mut world = World::new();
    for missing in ["nothing", "secret.csv"] {
        let path = world.root.join(missing);
        world.env.data = Some(path.clone());
        for dataset in ["sales", "shop", "demo/shop"] {
            let text = world.dataset(dataset).unwrap_err();
            assert!(text.starts_with("LONGSHORE_DATA: must be a directory that can be read"), "{text}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
        }
    }
}

#[test]
fn bad_data_sets_are_explained() {
    let world = World::new();
    assert_eq!(
        world.dataset("sale").unwrap_err(),
        "dataset: data set \"sale\" not found; did you mean \"sales\"? (available: bad, demo/shop, demo/support, \
         empty, sales, shop)"
    );
    assert!(world.dataset("empty").unwrap_err().contains("must have 1 to 64 files (*.csv, *.tsv,"));
    let text = world.dataset("bad").unwrap_err();
    for part in ["\"bad/x.csv\": table \"x\" is there twice", "\"bad/escape.csv\" lies outside"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let choice = DataChoice::Dataset("bad".into());
    let harmless = resolve(&choice, &world.env, &mentions("SELECT a FROM other")).unwrap();
    assert_eq!(harmless.len(), 1, "what is not mentioned may be broken: {harmless:?}");
}
