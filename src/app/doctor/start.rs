//! The cheap checks at start, in the background: the log of a daemon says from the start what would
//! fail later.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Choice, Config, Extent, FileHost, Finding, certificates, choose, examination, kubernetes_config, local_config,
};
use crate::backend::kubernetes::doctor::examine;
use crate::backend::local::doctor::examine_configured;
use crate::runtime::backoff::Backoff;
use crate::runtime::finding::Status;

/// Before a cluster that did not answer is asked again.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), LONGEST_PAUSE);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Certificates, whatever the backend; on this machine what of the configuration does not fit it; and
/// what a cluster can be asked at little cost, until it has answered once. Ends early when `stop` is
/// cancelled.
pub(crate) async fn at_start(config: Config, stop: CancellationToken) {
    let mut findings = certificates(&config, FileHost::Daemons);
    findings.iter().for_each(report);
    if let (Ok((Choice::Machine, _)), Ok(local)) = (choose(&config), local_config(&config)) {
        let configured = examine_configured(&local, &config.profiles, &config.limits).await;
        // A profile that is for another backend is not news.
        let wrong = configured.into_iter().filter(|finding| finding.status >= Status::Warning);
        let before = findings.len();
        findings.extend(wrong);
        findings.iter().skip(before).for_each(report);
    }
    if let Ok((Choice::Cluster { in_cluster }, _)) = choose(&config) {
        let examination = examination(&config, Extent::Start, stop.clone());
        let ask = || -> BoxFuture<'_, Vec<Finding>> {
            Box::pin(examine(kubernetes_config(&config, in_cluster), &examination, &|_| {}))
        };
        tokio::select! {
            answered = until_answered(ask, report) => findings.extend(answered),
            () = stop.cancelled() => return,
        }
    }
    let skipped = findings.iter().filter(|finding| finding.status == Status::Skipped).count();
    let made = findings.len() - skipped;
    if made > 0 && findings.iter().all(|finding| finding.status < Status::Warning) {
        info!(checks = made, skipped, "self-checks passed");
    }
}

/// Asks until there is an answer to everything, and returns that. Reports each finding, but not
/// again what was reported the time before.
async fn until_answered<'a>(
    mut ask: impl FnMut() -> BoxFuture<'a, Vec<Finding>>,
    mut report: impl FnMut(&Finding),
) -> Vec<Finding> {
    let mut reported: Vec<Finding> = Vec::new();
    let mut failures = 0;
    loop {
        let findings = ask().await;
        findings.iter().filter(|finding| !reported.contains(finding)).for_each(&mut report);
        if !findings.iter().any(|finding| finding.unanswered) {
            return findings;
        }
        if reported.is_empty() {
            info!(longest_pause = ?LONGEST_PAUSE, "the self-checks are repeated until the API server answers");
        }
        reported = findings;
        failures += 1;
        tokio::time::sleep(BACKOFF.pause(failures)).await;
    }
}

/// One line in the log, unless all is well.
fn report(finding: &Finding) {
    let Finding { check, subject, status, message, fix, unanswered: _ } = finding;
    // Lines to paste become one: a log line is one line.
    let fix = fix.split_whitespace().collect::<Vec<_>>().join(" ");
    match status {
        Status::Ok => {}
        Status::Skipped => info!(check, %subject, %fix, "skipped: {message}"),
        Status::Warning => warn!(check, %subject, %fix, "{message}"),
        Status::Failed => error!(check, %subject, %fix, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// What is reported, and when, if the answers are these.
    async fn asked(answers: Vec<Vec<Finding>>) -> (Vec<Finding>, Vec<(u64, String)>) {
        let begin = Instant::now();
        let mut answers = answers.into_iter();
        let mut reported = Vec::new();
        let ask = || -> BoxFuture<'_, Vec<Finding>> {
            let answer = answers.next().expect("no further question");
            Box::pin(async move { answer })
        };
        let findings =
            until_answered(ask, |finding| reported.push((begin.elapsed().as_secs(), finding.message.clone()))).await;
        assert_eq!(answers.count(), 0, "there were more questions");
        (findings, reported)
    }

    fn away(message: &str) -> Vec<Finding> {
        vec![Finding::failed("a", "b", message).unanswered(), Finding::skipped("c", "d", "has to be asked")]
    }

    fn at(seconds: u64, message: &str) -> (u64, String) {
        (seconds, message.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_is_asked_once() {
        let answer = vec![Finding::ok("a", "b", "fine"), Finding::failed("c", "d", "wrong")];
        assert_eq!(asked(vec![answer.clone()]).await, (answer, vec![at(0, "fine"), at(0, "wrong")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_asked_again_and_only_news_is_reported() {
        let answer = vec![Finding::failed("c", "d", "not allowed")];
        let answers = vec![away("refused"), away("refused"), away("503"), answer.clone()];
        let (findings, reported) = asked(answers).await;
        let messages: Vec<_> = reported.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!((findings, messages), (answer, vec!["refused", "has to be asked", "503", "not allowed"]));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound() {
        let times = |count: usize| (0..count).map(|n| away(&n.to_string()));
        let (_, reported) = asked(times(12).chain([Vec::new()]).collect()).await;
        let times: Vec<_> =
            reported.iter().filter(|(_, message)| message != "has to be asked").map(|reported| reported.0).collect();
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let longest = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300];
        // Each is random between its half and its whole, and counted in whole seconds.
        let fits = |(pause, longest): (&u64, &u64)| (longest / 2).saturating_sub(1) <= *pause && *pause <= longest + 1;
        assert!(pauses.len() == longest.len() && pauses.iter().zip(&longest).all(fits), "{pauses:?}");
    }
}
