//! Ctrl-C and SIGTERM, as something to wait for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals; from [`Interrupts::listen`] on they no longer end the process.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Interrupt {
        let (interrupt, received) = tokio::select! {
            received = self.interrupt.recv() => (Interrupt::Interrupt, received),
            received = self.terminate.recv() => (Interrupt::Terminate, received),
        };
        if received.is_none() {
            // The runtime delivers no signals any more; then none will come.
            std::future::pending::<()>().await;
        }
        interrupt
    }
}

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Interrupt {
    /// The exit code of a process that it ends: 128 + its number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }

    /// Why a run is cancelled by it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Interrupt => "the client was interrupted (SIGINT, Ctrl-C)",
            Self::Terminate => "the client was terminated (SIGTERM)",
        }
    }
}
