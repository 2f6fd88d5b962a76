//! Ctrl-C and SIGTERM, as something to wait for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals; from [`Interrupts::listen`] on they no longer end the process.
#[derive(Debug)]
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one. Returns the exit code of a process that it ends: 128 + its number.
    pub(super) async fn next(&mut self) -> u8 {
        let (code, received) = tokio::select! {
            received = self.interrupt.recv() => (128 + 2, received),
            received = self.terminate.recv() => (128 + 15, received),
        };
        if received.is_none() {
            // The runtime delivers no signals any more; then none will come.
            std::future::pending::<()>().await;
        }
        code
    }
}
