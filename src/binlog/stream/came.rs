//! The kinds of things that reading the stream comes upon.

use crate::binlog::events::event::Event;
use crate::binlog::events::heartbeat::Heartbeat;
use crate::binlog::reader::{Item, Step};
use crate::model::TableName;

/// The result of [`super::Source::next`].
#[derive(Debug)]
pub enum Came<T> {
    /// Something to act on.
    Item(Item<T>),
    /// A table whose columns must be looked up first.
    LookUp(LookUp),
    /// A bound of [`super::Source::until`] is reached.
    End,
    /// Reading goes on after everything had been read; nothing to act on.
    Quiet,
    /// The server is idle: a good time to compare.
    Idle(Idle<T>),
}

/// For [`super::Source::look_up`].
#[derive(Debug)]
pub struct LookUp {
    pub(super) table: TableName,
    pub(super) event: Event,
}

/// For [`super::Source::compare`].
#[derive(Debug)]
pub struct Idle<T> {
    pub(super) heartbeat: Heartbeat,
    pub(super) step: Step<T>,
}
