//! SQL is let through or refused; what is let through is one statement that begins as a query does, and is let through
//! again.

#![no_main]

use std::sync::{Mutex, OnceLock, mpsc};

use libfuzzer_sys::fuzz_target;
use longshore::runner::check_sql;

/// What is checked needs a deep stack; one thread for all, since a thread for each would take most of the time.
fn check(sql: String) -> Option<String> {
    type Job = (String, mpsc::Sender<Option<String>>);
    static CHECKER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let checker = CHECKER.get_or_init(|| {
        let (jobs, taken) = mpsc::channel::<Job>();
        let run = move || {
            for (sql, answer) in taken {
                drop(answer.send(check_sql(&sql).map(str::to_owned)));
            }
        };
        std::thread::Builder::new().stack_size(256 << 20).spawn(run).expect("a thread");
        Mutex::new(jobs)
    });
    let (answer, answered) = mpsc::channel();
    checker.lock().expect("nobody panics with it").send((sql, answer)).expect("the checker lives");
    answered.recv().expect("the check did not panic")
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(statement) = check(text.to_owned()) else { return };
    assert!(text.starts_with(&statement));
    assert_eq!(check(statement.clone()), Some(statement));
});
