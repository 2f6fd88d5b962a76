//! Response streams that end as promised: in exactly one last message, then OK. Whatever the
//! engine does, a stream also ends when the server drains, since an open one holds it up for ever.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::status;
use longshore_engine::{EngineError, ReconnectReason};

/// How long the engine has, once the server drains, to end a stream itself: it knows the cursor
/// best.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Writes the events of one stream.
pub(crate) trait Encode: Send + 'static {
    /// What the engine reports.
    type Event: Send + 'static;
    /// What the caller gets.
    type Message: Send + 'static;

    /// Writes an event as any number of messages; `Break` after the last one of the stream.
    fn encode(&mut self, event: Self::Event, out: &mut VecDeque<Self::Message>) -> ControlFlow<()>;

    /// Writes what ends the stream and asks the caller to call again.
    fn reconnect(&mut self, reason: ReconnectReason, out: &mut VecDeque<Self::Message>);
}

struct StreamState<E: Encode> {
    /// `None` once the last event was taken.
    events: Option<BoxStream<'static, Result<E::Event, EngineError>>>,
    encoder: E,
    out: VecDeque<E::Message>,
    drained: BoxFuture<'static, ()>,
}

/// The messages that `encoder` makes of `events`.
pub(crate) fn messages<E: Encode>(
    events: BoxStream<'static, Result<E::Event, EngineError>>,
    encoder: E,
    drain: CancellationToken,
) -> BoxStream<'static, Result<E::Message, Status>> {
    let drained = Box::pin(async move {
        drain.cancelled_owned().await;
        tokio::time::sleep(DRAIN_GRACE).await;
    });
    let state = StreamState { events: Some(events), encoder, out: VecDeque::new(), drained };
    stream::unfold(state, |mut state| async {
        let next = state.next().await?;
        Some((next, state))
    })
    .boxed()
}

impl<E: Encode> StreamState<E> {
    async fn next(&mut self) -> Option<Result<E::Message, Status>> {
        loop {
            if let Some(message) = self.out.pop_front() {
                return Some(Ok(message));
            }
            let events = self.events.as_mut()?;
            let event = tokio::select! {
                biased;
                () = &mut self.drained => {
                    self.encoder.reconnect(ReconnectReason::Draining, &mut self.out);
                    self.events = None;
                    continue;
                }
                event = events.next() => event,
            };
            let flow = match event {
                Some(Ok(event)) => self.encoder.encode(event, &mut self.out),
                Some(Err(error)) => {
                    self.events = None;
                    return Some(Err(status::answer(error)));
                }
                None => {
                    self.events = None;
                    return Some(Err(status::cut()));
                }
            };
            if flow.is_break() {
                self.events = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_domain::name::RunName;

    /// Even numbers come twice, odd ones not at all, and 9 is the last.
    struct Numbers;

    impl Encode for Numbers {
        type Event = u32;
        type Message = u32;

        fn encode(&mut self, event: u32, out: &mut VecDeque<u32>) -> ControlFlow<()> {
            if event.is_multiple_of(2) {
                out.extend([event, event]);
            }
            if event == 9 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn reconnect(&mut self, _: ReconnectReason, out: &mut VecDeque<u32>) {
            out.push_back(1000);
        }
    }

    async fn collect(
        events: BoxStream<'static, Result<u32, EngineError>>,
        drain: &CancellationToken,
    ) -> Vec<Result<u32, tonic::Code>> {
        messages(events, Numbers, drain.clone()).map(|item| item.map_err(|status| status.code())).collect().await
    }

    #[tokio::test]
    async fn the_last_event_ends_the_stream_whatever_follows() {
        let events = stream::iter([1, 2, 9, 4].map(Ok)).chain(stream::pending()).boxed();
        assert_eq!(collect(events, &CancellationToken::new()).await, [Ok(2), Ok(2)]);
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let error = EngineError::RunNotFound(RunName::parse("namespaces/default/runs/a").unwrap());
        let events = stream::iter([Ok(2), Err(error), Ok(4)]).boxed();
        assert_eq!(collect(events, &CancellationToken::new()).await, [Ok(2), Ok(2), Err(tonic::Code::NotFound)]);
    }

    #[tokio::test]
    async fn an_end_without_a_last_event_is_a_cut() {
        let events = stream::iter([Ok(2)]).boxed();
        assert_eq!(collect(events, &CancellationToken::new()).await, [Ok(2), Ok(2), Err(tonic::Code::Unavailable)]);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_ends_a_quiet_stream_and_a_busy_one() {
        let drain = CancellationToken::new();
        drain.cancel();
        assert_eq!(collect(stream::pending().boxed(), &drain).await, [Ok(1000)]);

        let busy = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok(1), ()))
        });
        assert_eq!(collect(busy.boxed(), &drain).await, [Ok(1000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_engine_may_end_a_draining_stream_itself() {
        let drain = CancellationToken::new();
        drain.cancel();
        let events = stream::iter([Ok(2), Ok(9)]).boxed();
        assert_eq!(collect(events, &drain).await, [Ok(2), Ok(2)]);
    }
}
