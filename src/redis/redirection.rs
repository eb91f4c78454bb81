//! Answers that name another server of a cluster.

use std::collections::HashSet;

use redis::{Arg, Cmd, ErrorKind, Pipeline, ServerErrorKind};

use super::address::Address;
use super::server::Reply;
use super::slot;

/// A command that was not answered yet.
pub(crate) struct InFlightCommand {
    /// The index of the command, and of its answer.
    pub(crate) place: usize,
    pub(crate) command: Cmd,
    pub(crate) to: Goal,
}

/// The server that a command goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The primary that serves its slot.
    Owner,
    /// This node, which is taking the slot over and serves it only to commands
    /// after ASKING.
    Asking(Address),
}

/// Commands that go to one server in one round trip.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) commands: Pipeline,
    /// The index of each command; `None` for an ASKING before the next one.
    places: Vec<Option<usize>>,
}

impl Group {
    pub(crate) fn add(&mut self, pending: InFlightCommand) {
        if matches!(pending.to, Goal::Asking(_)) {
            self.commands.cmd("ASKING");
            self.places.push(None);
        }
        self.commands.add_command(pending.command);
        self.places.push(Some(pending.place));
    }
}

/// The commands of a group, by what their answers mean.
#[derive(Default)]
pub(crate) struct Sorted {
    /// Answers with the indexes of their commands.
    pub(crate) done: Vec<(usize, Reply)>,
    /// Commands that go to another server.
    pub(crate) redirected: Vec<InFlightCommand>,
    /// Commands that wait for those. Commands of one slot take effect in their
    /// order, so that the ones behind a redirected command are sent again after
    /// it.
    pub(crate) behind: Vec<InFlightCommand>,
    /// Slots that have moved, with their new primaries.
    pub(crate) moved: Vec<(u16, Address)>,
}

/// Sorts the commands of a group that the server at `answering` has answered.
pub(crate) fn sort(group: &Group, answers: Vec<Reply>, answering: &Address) -> Sorted {
    let mut sorted = Sorted::default();
    let mut elsewhere: HashSet<u16> = HashSet::new();
    let sent = group.commands.cmd_iter().zip(&group.places);
    for ((command, place), answer) in sent.zip(answers) {
        let Some(place) = *place else { continue };
        let pending = |to| InFlightCommand {
            place,
            command: command.clone(),
            to,
        };
        if let Some((slot, to)) = redirection(&answer, answering) {
            let goal = match to {
                Redirection::Ask(address) => Goal::Asking(address),
                Redirection::Moved(address) => {
                    sorted.moved.push((slot, address));
                    Goal::Owner
                }
            };
            sorted.redirected.push(pending(goal));
            // The order of deletions does not matter.
            let name = command.args_iter().next();
            if !matches!(name, Some(Arg::Simple(b"UNLINK" | b"DEL"))) {
                elsewhere.insert(slot);
            }
        } else if !elsewhere.is_empty()
            && slot::of_command(command).is_some_and(|slot| elsewhere.contains(&slot))
        {
            sorted.behind.push(pending(Goal::Owner));
        } else {
            sorted.done.push((place, answer));
        }
    }
    sorted
}

enum Redirection {
    Moved(Address),
    Ask(Address),
}

fn redirection(answer: &Reply, answering: &Address) -> Option<(u16, Redirection)> {
    let error = answer.as_ref().err()?;
    let (node, slot) = error.redirect_node()?;
    let address = Address::parse(node, answering)?;
    let to = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Ask) => Redirection::Ask(address),
        _ => Redirection::Moved(address),
    };
    Some((slot, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address {
            host: "node".into(),
            port,
        }
    }

    fn answer(bytes: &str) -> Reply {
        let value = redis::parse_redis_value(format!("{bytes}\r\n").as_bytes())?;
        value.extract_error()
    }

    /// A group of commands, each with its key.
    fn group(commands: &[&str]) -> Group {
        let mut group = Group::default();
        for (place, text) in commands.iter().enumerate() {
            let mut command = Cmd::new();
            command.arg(text.split(' ').collect::<Vec<_>>());
            let to = Goal::Owner;
            group.add(InFlightCommand { place, command, to });
        }
        group
    }

    fn places(pending: &[InFlightCommand]) -> Vec<(usize, Goal)> {
        pending
            .iter()
            .map(|pending| (pending.place, pending.to.clone()))
            .collect()
    }

    #[test]
    fn commands_of_a_redirected_ones_slot_wait_for_it_and_others_do_not() {
        let slot = slot::of_key(b"a");
        let ask = format!("-ASK {slot} node:7");
        let group = group(&["GET {a}1", "INCR {a}2", "UNLINK b", "UNLINK {a}3"]);
        let answers = [":1", &ask, ":1", ":1"].map(answer);
        let sorted = sort(&group, answers.into(), &address(1));
        let done: Vec<usize> = sorted.done.iter().map(|(place, _)| *place).collect();
        assert_eq!(done, [0, 2]);
        let asking = Goal::Asking(address(7));
        assert_eq!(places(&sorted.redirected), [(1, asking)]);
        assert_eq!(places(&sorted.behind), [(3, Goal::Owner)]);
        assert_eq!(sorted.moved, []);
    }

    #[test]
    fn a_deletion_waits_for_no_other() {
        let ask = format!("-ASK {} node:7", slot::of_key(b"a"));
        let group = group(&["UNLINK {a}1", "UNLINK {a}2"]);
        let sorted = sort(&group, [&ask, ":1"].map(answer).into(), &address(1));
        assert_eq!(sorted.redirected.len(), 1);
        assert_eq!((sorted.done.len(), sorted.behind.len()), (1, 0));
    }

    #[test]
    fn a_moved_slot_has_a_new_owner_which_may_be_on_the_answering_host() {
        let slot = slot::of_key(b"a");
        let moved = format!("-MOVED {slot} :9");
        let sorted = sort(&group(&["INCR a"]), vec![answer(&moved)], &address(1));
        assert_eq!(places(&sorted.redirected), [(0, Goal::Owner)]);
        assert_eq!(sorted.moved, [(slot, address(9))]);
        assert!(sorted.done.is_empty() && sorted.behind.is_empty());
    }

    #[test]
    fn an_answer_to_asking_is_nobodys() {
        let mut group = Group::default();
        let mut command = redis::cmd("UNLINK");
        command.arg("a");
        let to = Goal::Asking(address(2));
        group.add(InFlightCommand {
            place: 5,
            command,
            to,
        });
        let answers = ["+OK", "-WRONGTYPE no"].map(answer);
        let sorted = sort(&group, answers.into(), &address(2));
        let [(5, Err(error))] = sorted.done.as_slice() else {
            panic!("{:?}", sorted.done);
        };
        assert_eq!(error.code(), Some("WRONGTYPE"));
    }
}
