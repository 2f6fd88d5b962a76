//! Goes through the attempts that are asked for, one after another.

use super::event::{LogEndReason, LogEvent};
use super::query::{AttemptSelector, LogStart};
use super::ring::OutputTally;
use super::stream::{HEARTBEAT, StreamStop, Streamer};
use longshore_domain::log::LostTail;
use longshore_domain::run::facts::Terminated;

impl Streamer {
    pub(super) async fn run(&mut self) -> Result<LogEndReason, StreamStop> {
        loop {
            if self.position.is_none() {
                self.send(LogEvent::AttemptStarted { attempt: self.attempt }).await?;
            }
            let whole = if self.query.follow { self.follow_attempt().await? } else { self.read_attempt().await? };
            let Some(whole) = whole else {
                return Ok(if self.left == Some(0) { LogEndReason::ByteLimit } else { LogEndReason::CaughtUp });
            };
            let exit_code = self.attempt_facts().and_then(|a| a.main.terminated().and_then(Terminated::code));
            self.send(LogEvent::AttemptEnded { attempt: self.attempt, exit_code, whole: whole.0 }).await?;
            let next = self.attempt + 1;
            if !self.goes_on_with(next).await? {
                return self.finish().await;
            }
            if self.query.attempts == AttemptSelector::Latest {
                // What is asked for of the latest attempt is not of one that came after.
                self.query.start = LogStart::Beginning;
            }
            (self.attempt, self.position, self.sent) = (next, None, None);
            self.tally =
                matches!(self.query.start, LogStart::Beginning | LogStart::Cursor(_)).then(OutputTally::default);
            (self.beginning, self.lost_tail) = (None, LostTail::default());
        }
    }

    /// Whether this attempt is asked for, too, and there is one. Who follows the run's output waits for it.
    async fn goes_on_with(&mut self, next: u32) -> Result<bool, StreamStop> {
        let wanted = match self.query.attempts {
            AttemptSelector::All => true,
            AttemptSelector::Latest => self.query.follow,
            AttemptSelector::Number(_) => false,
        };
        loop {
            let (is_there, is_over) = {
                let observed = self.follow.borrow_and_update();
                let is_over = observed.view.state.is_terminal() || observed.facts.is_let_go();
                (observed.facts.attempt(next).is_some(), is_over)
            };
            if !wanted || is_there || is_over || !self.query.follow {
                return Ok(wanted && is_there);
            }
            if !self.changed().await? {
                return Ok(false);
            }
        }
    }

    /// The attempt is complete. `end` says that the run is finished, so it waits until it is; but not for an end that
    /// can't be read, and that nobody else waits for any more.
    async fn finish(&mut self) -> Result<LogEndReason, StreamStop> {
        if !self.query.follow {
            let terminal = self.follow.borrow().view.state.is_terminal();
            return Ok(if terminal { LogEndReason::RunFinished } else { LogEndReason::CaughtUp });
        }
        loop {
            let cursor = self.cursor();
            tokio::select! {
                // An error means that the run is gone.
                _ = self.follow.wait_for(|o| o.view.state.is_terminal() || o.facts.is_let_go()) => {
                    return Ok(LogEndReason::RunFinished);
                }
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            self.send(LogEvent::Heartbeat { cursor }).await?;
        }
    }
}
