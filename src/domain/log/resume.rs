//! Finds a known position again.

/// Finds a known position again.
#[derive(Debug)]
pub struct Resume {}

/// What came of a piece.
#[derive(Debug)]
pub enum Resumed {}
