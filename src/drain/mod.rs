//! From the buffer to the edge.
//!
//! - `task`: a drain, from its parts to its end.
//! - `options`: how a drain works.
//! - `parts`: what all of a drain's tasks share.
//! - `main_loop`: receives, delivers, and keeps messages invisible meanwhile.
//! - `shutdown`: finishes what is under way and gives back the rest.
//! - `addressee`: the distribution that a message is for.
//! - `receive`: received messages, sorted into rounds.
//! - `rounds`: those, until they are due.
//! - `in_flight`: messages that were received and not deleted yet.
//! - `extension`: keeps messages in flight invisible to other drains.
//! - `deliver`: one round, through the edge.
//! - `ask`: one request of a round, until the edge has answered it.
//! - `bookkeeping`: the month's count, and the log of invalidations.
//! - `in_trouble`: whether the edge takes them, on the board.
//! - `isolate`: the search for the paths that a distribution refuses.
//! - `held_paths`: the paths that it holds, on the board.
//! - `overdue`: paths that have waited long for that, under wildcards.
//! - `covers`: that this goes on, on the board.
//! - `arrivals`: messages that are set apart, until the search takes them.
//! - `suspects`: messages with a path that may be refused.
//! - `refused_paths`: paths that were refused, each alone.
//! - `suspension`: the pauses of a distribution that takes nothing for now.
//! - `troubles`: what it does not take now, of a tenant or of none.
//! - `verdict`: what a failed call to the edge asks for.
//! - `dead_letters`: messages that nothing can be done with.
//! - `distribution`: what is known about one distribution.
//! - `room`: waiting for room there.
//! - `poller`: keeps asking the edge about a distribution.
//! - `orphans`: requests that a process which is gone had counted as open.
//! - `tenant_lookup`: what was invalidated for a tenant before.
//! - `budget_metrics`: what the month costs, as metrics.
//! - `slot`: a future that outlives the waits for it.
//! - `tests`: a drain between a buffer and an edge that misbehave.

mod addressee;
mod arrivals;
mod ask;
mod bookkeeping;
mod budget_metrics;
mod covers;
mod dead_letters;
mod deliver;
mod distribution;
mod extension;
mod held_paths;
mod in_flight;
mod in_trouble;
mod isolate;
mod main_loop;
mod options;
mod orphans;
mod overdue;
mod parts;
mod poller;
mod receive;
mod refused_paths;
mod room;
mod rounds;
mod shutdown;
mod slot;
mod suspects;
mod suspension;
mod task;
mod tenant_lookup;
mod troubles;
mod verdict;

#[cfg(test)]
mod tests;

pub use self::options::DrainOptions;
pub use self::shutdown::Stopped;
pub use self::task::Drain;
