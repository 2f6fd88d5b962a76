//! Cuts what a backend returns into pieces.

/// Cuts `pods/log?timestamps=true`.
#[derive(Debug, Default)]
pub struct TimestampedSplitter {}

/// Cuts a file in the CRI log format.
#[derive(Debug, Default)]
pub struct CriSplitter {}
