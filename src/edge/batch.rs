//! Which requests a set of messages needs, and which messages each request
//! completes.
//!
//! Pure, and deterministic: the same messages in any order give the same
//! batches under the same names. When a drain dies between the edge's
//! acceptance and the deletion of the messages, its successor repeats the
//! request instead of paying for another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{BATCH_PATHS_MAX, InvalidationBatch};

/// Messages of one distribution whose paths are gathered for a plan.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    messages: Vec<Arc<str>>,
    /// Each distinct path, with the messages that hold it.
    owners: BTreeMap<String, Vec<usize>>,
}

/// What to send, and the account of what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The requests, in the order to send them.
    pub batches: Vec<Batch>,
    /// Which messages still wait for one.
    pub progress: Progress,
    /// Messages that hold no path, and are complete as they are.
    pub empty: Vec<Arc<str>>,
}

/// One request and the messages with paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The request.
    pub invalidation: InvalidationBatch,
    /// The ids of the messages, sorted.
    pub messages: Vec<Arc<str>>,
    owners: Owners,
    salt: u32,
}

/// Which messages hold which path of a batch, so that a half that is refused
/// keeps back only the messages with paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owners {
    /// The plan's messages, sorted.
    ids: Arc<[Arc<str>]>,
    /// For each path in the batch, indices into them.
    of_path: Vec<Vec<usize>>,
}

/// How many unaccepted batches each message waits for.
///
/// Nothing lost: a message completes only when every batch with a path of it
/// was accepted. A batch that is given up is never reported here, and so its
/// messages never complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    waiting: HashMap<Arc<str>, usize>,
}

impl Gathering {
    /// Adds a message by its id.
    pub fn add(&mut self, message: Arc<str>, paths: Vec<String>) {
        let index = self.messages.len();
        self.messages.push(message);
        for path in paths {
            let owners = self.owners.entry(path).or_default();
            if owners.last() != Some(&index) {
                owners.push(index);
            }
        }
    }

    /// How many distinct paths there are.
    pub fn distinct_paths(&self) -> usize {
        self.owners.len()
    }

    /// The ids of the messages, in the order they came.
    pub fn messages(&self) -> &[Arc<str>] {
        &self.messages
    }

    /// Cuts the sorted paths into batches for the distribution with this id.
    pub fn plan(self, distribution: &Arc<str>) -> Plan {
        let mut ids = self.messages.clone();
        ids.sort_unstable();
        ids.dedup();
        let ids: Arc<[Arc<str>]> = ids.into();
        // From the order of arrival to the order of ids.
        let sorted: Vec<usize> = self
            .messages
            .iter()
            .map(|id| ids.partition_point(|other| other < id))
            .collect();
        let mut items = self.owners.into_iter().map(|(path, arrivals)| {
            let owners = arrivals.iter().filter_map(|&n| sorted.get(n).copied());
            (
                path,
                owners.collect::<BTreeSet<usize>>().into_iter().collect(),
            )
        });
        let mut batches = Vec::new();
        let mut progress = Progress::default();
        let mut empty: BTreeSet<Arc<str>> = ids.iter().cloned().collect();
        loop {
            let (paths, owners): (Vec<String>, Vec<Vec<usize>>) =
                items.by_ref().take(BATCH_PATHS_MAX).unzip();
            if paths.is_empty() {
                break;
            }
            let batch = Batch::new(
                Arc::clone(distribution),
                paths,
                Owners {
                    ids: Arc::clone(&ids),
                    of_path: owners,
                },
                0,
            );
            for message in &batch.messages {
                empty.remove(message);
            }
            progress.wait_for(&batch);
            batches.push(batch);
        }
        Plan {
            batches,
            progress,
            empty: empty.into_iter().collect(),
        }
    }
}

impl Batch {
    fn new(distribution: Arc<str>, paths: Vec<String>, owners: Owners, salt: u32) -> Self {
        let messages: BTreeSet<usize> = owners.of_path.iter().flatten().copied().collect();
        let messages: Vec<Arc<str>> = messages
            .into_iter()
            .filter_map(|index| owners.ids.get(index).cloned())
            .collect();
        let caller_reference = caller_reference(&distribution, &paths, &messages, salt);
        Self {
            invalidation: InvalidationBatch {
                distribution,
                caller_reference,
                paths,
            },
            messages,
            owners,
            salt,
        }
    }

    /// Two batches of half the paths each. The progress must hear of it, see
    /// [`Progress::halved`].
    ///
    /// # Errors
    ///
    /// The batch itself, when it holds one path only.
    pub fn halve(self) -> Result<(Batch, Batch), Box<Batch>> {
        if self.invalidation.paths.len() < 2 {
            return Err(Box::new(self));
        }
        let mut first = self.invalidation.paths;
        let mut first_owners = self.owners;
        let middle = first.len().div_ceil(2);
        let second = first.split_off(middle);
        let second_owners = Owners {
            ids: Arc::clone(&first_owners.ids),
            of_path: first_owners.of_path.split_off(middle),
        };
        let distribution = self.invalidation.distribution;
        Ok((
            Batch::new(Arc::clone(&distribution), first, first_owners, self.salt),
            Batch::new(distribution, second, second_owners, self.salt),
        ))
    }

    /// The same request under the next name. Still deterministic: a successor
    /// that repeats it meets the same refusal, and gives it the same name.
    #[must_use]
    pub fn renamed(self) -> Batch {
        Batch::new(
            self.invalidation.distribution,
            self.invalidation.paths,
            self.owners,
            self.salt.saturating_add(1),
        )
    }
}

impl Progress {
    fn wait_for(&mut self, batch: &Batch) {
        for message in &batch.messages {
            *self.waiting.entry(Arc::clone(message)).or_default() += 1;
        }
    }

    /// A batch became two: a message with paths in both waits for one more.
    pub fn halved(&mut self, first: &Batch, second: &Batch) {
        let in_first: BTreeSet<&Arc<str>> = first.messages.iter().collect();
        for message in second.messages.iter().filter(|m| in_first.contains(m)) {
            *self.waiting.entry(Arc::clone(message)).or_default() += 1;
        }
    }

    /// The edge accepted the batch. Returns the messages that wait for nothing
    /// more, and may be deleted.
    pub fn accept(&mut self, batch: &Batch) -> Vec<Arc<str>> {
        let mut complete = Vec::new();
        for message in &batch.messages {
            if let Some(waiting) = self.waiting.get_mut(message) {
                *waiting = waiting.saturating_sub(1);
                if *waiting == 0 {
                    self.waiting.remove(message);
                    complete.push(Arc::clone(message));
                }
            }
        }
        complete
    }
}

/// Names a batch after all it stands for.
///
/// The messages are part of it, because the edge would answer a second change
/// to the same paths with the invalidation of the first. Lengths stand before
/// the texts, so that different lists never read the same.
fn caller_reference(
    distribution: &str,
    paths: &[String],
    messages: &[Arc<str>],
    salt: u32,
) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update(text.len().to_string());
        hash.update(b":");
        hash.update(text);
    };
    text(distribution);
    text(&paths.len().to_string());
    for path in paths {
        text(path);
    }
    for message in messages {
        text(message);
    }
    let name = hex::encode(hash.finalize());
    match salt {
        0 => format!("evictd-{name}"),
        salt => format!("evictd-{name}-{salt}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(texts: &[&str]) -> Vec<Arc<str>> {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    type Messages = Vec<(String, Vec<String>)>;

    fn plan(messages: &[(String, Vec<String>)]) -> Plan {
        let mut gathering = Gathering::default();
        for (id, paths) in messages {
            gathering.add(id.as_str().into(), paths.clone());
        }
        gathering.plan(&"E1".into())
    }

    fn named(id: &str, paths: impl IntoIterator<Item = u32>) -> (String, Vec<String>) {
        let paths = paths.into_iter().map(|n| format!("/{n:06}")).collect();
        (id.to_owned(), paths)
    }

    #[test]
    fn a_message_completes_with_the_last_of_its_batches() {
        let Plan {
            batches,
            mut progress,
            empty,
        } = plan(&[
            named("wide", 0..4_000),
            named("first", 10..20),
            named("last", 3_990..4_000),
            named("none", 0..0),
        ]);
        assert_eq!(empty, ids(&["none"]));
        let [first, last] = batches.as_slice() else {
            panic!("two batches, not {}", batches.len());
        };
        assert_eq!(first.invalidation.paths.len(), 3_000);
        assert_eq!(first.messages, ids(&["first", "wide"]));
        assert_eq!(progress.accept(last), ids(&["last"]));
        assert_eq!(progress.accept(first), ids(&["first", "wide"]));
    }

    #[test]
    fn a_halved_batch_completes_its_messages_with_both_halves() {
        let Plan {
            mut batches,
            mut progress,
            ..
        } = plan(&[named("a", 0..5)]);
        let (first, second) = batches.remove(0).halve().unwrap();
        progress.halved(&first, &second);
        assert_eq!(first.invalidation.paths.len(), 3);
        assert_eq!(second.invalidation.paths.len(), 2);
        assert_ne!(
            first.invalidation.caller_reference,
            second.invalidation.caller_reference
        );
        assert!(progress.accept(&second).is_empty());
        assert_eq!(progress.accept(&first), ids(&["a"]));
    }

    #[test]
    fn a_half_holds_only_the_messages_with_paths_in_it() {
        let Plan {
            mut batches,
            mut progress,
            ..
        } = plan(&[named("low", 0..2), named("high", 2..4), named("both", 1..3)]);
        let (first, second) = batches.remove(0).halve().unwrap();
        progress.halved(&first, &second);
        assert_eq!(first.messages, ids(&["both", "low"]));
        assert_eq!(second.messages, ids(&["both", "high"]));
        assert_eq!(progress.accept(&first), ids(&["low"]));
    }

    #[test]
    fn a_single_path_cannot_be_halved() {
        let batch = plan(&[named("a", 0..1)]).batches.remove(0);
        assert_eq!(*batch.clone().halve().unwrap_err(), batch);
    }

    #[test]
    fn the_name_changes_with_the_distribution_the_paths_the_messages_and_the_salt() {
        let base = plan(&[named("a", 0..2)]).batches.remove(0);
        let mut names = BTreeSet::from([
            base.invalidation.caller_reference.clone(),
            plan(&[named("b", 0..2)])
                .batches
                .remove(0)
                .invalidation
                .caller_reference,
            plan(&[named("a", 0..3)])
                .batches
                .remove(0)
                .invalidation
                .caller_reference,
            base.clone().renamed().invalidation.caller_reference,
            base.clone()
                .renamed()
                .renamed()
                .invalidation
                .caller_reference,
        ]);
        let mut elsewhere = Gathering::default();
        elsewhere.add("a".into(), base.invalidation.paths.clone());
        names.insert(
            elsewhere
                .plan(&"E2".into())
                .batches
                .remove(0)
                .invalidation
                .caller_reference,
        );
        assert_eq!(names.len(), 6);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("evictd-") && name.len() < 128)
        );
    }

    fn any_messages() -> impl Strategy<Value = Messages> {
        let wide = (0_u32..20_000, 0_u32..4_000).prop_map(|(from, count)| from..from + count);
        let narrow = (0_u32..100, 0_u32..10).prop_map(|(from, count)| from..from + count);
        prop::collection::vec(prop_oneof![1 => wide, 3 => narrow], 0..8).prop_map(|ranges| {
            let named = |(n, range)| named(&format!("m{n}"), range);
            ranges.into_iter().enumerate().map(named).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_path_is_in_exactly_one_batch_and_every_message_completes_once(
            messages in any_messages()
        ) {
            let Plan { batches, mut progress, empty } = plan(&messages);
            let mut sent = Vec::new();
            let mut complete: Vec<Arc<str>> = empty;
            for batch in &batches {
                prop_assert!(!batch.invalidation.paths.is_empty());
                prop_assert!(batch.invalidation.paths.len() <= BATCH_PATHS_MAX);
                sent.extend(batch.invalidation.paths.clone());
                for id in progress.accept(batch) {
                    let (_, paths) = messages.iter().find(|(other, _)| **other == *id).unwrap();
                    let seen: BTreeSet<_> = sent.iter().collect();
                    prop_assert!(paths.iter().all(|path| seen.contains(path)));
                    complete.push(id);
                }
            }
            let distinct: BTreeSet<_> =
                messages.iter().flat_map(|(_, paths)| paths.clone()).collect();
            prop_assert_eq!(sent, distinct.into_iter().collect::<Vec<_>>());
            complete.sort();
            let mut ids: Vec<Arc<str>> =
                messages.iter().map(|(id, _)| id.as_str().into()).collect();
            ids.sort();
            prop_assert_eq!(complete, ids);
        }

        #[test]
        fn the_order_of_arrival_does_not_change_the_batches(
            (messages, shuffled) in any_messages()
                .prop_flat_map(|messages| (Just(messages.clone()), Just(messages).prop_shuffle()))
        ) {
            prop_assert_eq!(plan(&messages), plan(&shuffled));
        }
    }
}
