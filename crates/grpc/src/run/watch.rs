//! What a watch of runs reports.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::run::{log::reconnect_reason, response};
use crate::server::streams::Encode;
use crate::wire::View;
use longshore_api::v1;
use longshore_domain::run::Run;
use longshore_engine::{ReconnectReason, RemovalCause, WatchEvent};

/// Writes the events of one watch.
#[derive(Debug)]
pub(crate) struct WatchEncoder {
    view: View,
}

impl WatchEncoder {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }
}

impl Encode for WatchEncoder {
    type Event = WatchEvent<Run>;
    type Message = v1::WatchRunsResponse;

    fn encode(&mut self, event: WatchEvent<Run>, out: &mut VecDeque<Self::Message>) -> ControlFlow<()> {
        use v1::watch_runs_response::Event;
        let event = match event {
            WatchEvent::Present(run) => Event::Run(response::to_wire(&run, self.view)),
            WatchEvent::Removed { last: run, cause } => Event::Removed(v1::RunRemoved {
                name: run.name.to_string(),
                cause: removal_cause(cause).into(),
                run: Some(response::to_wire(&run, self.view)),
            }),
            WatchEvent::Synced => Event::Synced(v1::WatchSynced {}),
            WatchEvent::Heartbeat => Event::Heartbeat(v1::WatchHeartbeat {}),
            WatchEvent::Reconnect(reason) => {
                self.reconnect(reason, out);
                return ControlFlow::Break(());
            }
        };
        out.push_back(v1::WatchRunsResponse { event: Some(event) });
        ControlFlow::Continue(())
    }

    fn reconnect(&mut self, reason: ReconnectReason, out: &mut VecDeque<Self::Message>) {
        let reason = reconnect_reason(reason).into();
        let event = v1::watch_runs_response::Event::Reconnect(v1::WatchReconnect { reason });
        out.push_back(v1::WatchRunsResponse { event: Some(event) });
    }
}

fn removal_cause(cause: RemovalCause) -> v1::RunRemovalCause {
    match cause {
        RemovalCause::Deleted => v1::RunRemovalCause::Deleted,
        RemovalCause::Unmatched => v1::RunRemovalCause::Unmatched,
    }
}
