//! Histories of events, whole and damaged.
//!
//! - `history`: a server that writes a history of events, and a reader of them.
//! - `positions`: where reading stands, over files and beyond 4 GiB.
//! - `transactions`: transactions of rows and of statements, compressed or not.
//! - `xa`: XA transactions, and what becomes visible at their commit.
//! - `unknown`: events, tables and statements that cannot be known.
//! - `damage`: damaged events never panic, and never hide a change.

mod damage;
mod history;
mod positions;
mod transactions;
mod unknown;
mod xa;
