use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::cache::{FoundKeys, Outcome, ServerRun};
use crate::model::{Guards, KeyList};

/// Sets and keys in memory. One call fails after it was done, or before.
#[derive(Default)]
struct Memory {
    sets: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    keys: BTreeSet<Vec<u8>>,
    forbidden: BTreeSet<Vec<u8>>,
    /// Keys with the name of a set that hold something else.
    no_sets: BTreeSet<Vec<u8>>,
    /// Sets whose members cannot be removed.
    stuck: BTreeSet<Vec<u8>>,
    calls: usize,
    fails_at: Option<(usize, bool)>,
    deleted_at: BTreeMap<Vec<u8>, usize>,
}

impl Memory {
    fn call<T>(&mut self, mut act: impl FnMut(&mut Self) -> T) -> Result<T, CacheError> {
        self.calls += 1;
        let fails = self.fails_at.filter(|(at, _)| *at == self.calls);
        if let Some((_, false)) = fails {
            return Err(lost());
        }
        let done = act(self);
        fails.map_or(Ok(done), |_| Err(lost()))
    }
}

fn lost() -> CacheError {
    CacheError::Unavailable {
        address: "memory".to_owned(),
        code: "connection",
        reason: "as told".to_owned(),
    }
}

impl Cache for Memory {
    async fn delete(&mut self, keys: &[&KeyList]) -> Result<Outcome, CacheError> {
        self.call(|memory| {
            let mut outcome = Outcome::default();
            for key in keys.iter().flat_map(|keys| keys.iter()) {
                if memory.forbidden.contains(key) {
                    outcome.refused.push(Refused {
                        key: key.to_vec(),
                        code: "no-permission",
                        reason: String::new(),
                    });
                    continue;
                }
                outcome.existed += u64::from(memory.keys.remove(key));
                memory.deleted_at.insert(key.to_vec(), memory.calls);
            }
            outcome
        })
    }

    async fn increment(&mut self, _: &[u8]) -> Result<Outcome, CacheError> {
        unreachable!("tag sets have no counters")
    }

    async fn delete_matching(&mut self, _: &[u8]) -> Result<Outcome, CacheError> {
        unreachable!("tag sets are gone through")
    }

    async fn delete_guarded(&mut self, _: &Guards, _: &[&KeyList]) -> Result<Outcome, CacheError> {
        unreachable!("guards are raised before")
    }

    async fn delete_fields(&mut self, _: &PairSet) -> Result<Outcome, CacheError> {
        unreachable!("hashes are not tag sets")
    }

    async fn find_keys(&mut self, _: &[u8], _: ScanPlace) -> Result<FoundKeys, CacheError> {
        self.call(|memory| FoundKeys {
            keys: memory.sets.keys().chain(&memory.no_sets).cloned().collect(),
            next: None,
        })
    }

    /// Two members a step: those from the cursor's place on in the order of all names.
    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        self.call(|memory| {
            let step = |set: &TagScan<'_>| {
                if memory.no_sets.contains(set.key) {
                    return TagStep::Refused(Refused {
                        key: set.key.to_vec(),
                        code: "wrong-type",
                        reason: String::new(),
                    });
                }
                let Some(all) = memory.sets.get(set.key) else {
                    return TagStep::End;
                };
                let from = set.cursor.to_string().into_bytes();
                let mut rest = all.iter().filter(|member| **member >= from);
                let members: Vec<_> = rest.by_ref().take(2).cloned().collect();
                let next = rest
                    .next()
                    .map_or(0, |member| String::from_utf8_lossy(member).parse().unwrap());
                TagStep::Members {
                    kind: TagKind::Set,
                    members,
                    next,
                }
            };
            sets.iter().map(step).collect()
        })
    }

    async fn remove_members(
        &mut self,
        leaving: &[MemberRemoval<'_>],
    ) -> Result<Outcome, CacheError> {
        self.call(|memory| {
            let mut stuck = Vec::new();
            for set in leaving {
                if memory.stuck.contains(set.key) {
                    stuck.push(set.key.to_vec());
                    continue;
                }
                let members = memory.sets.get_mut(set.key).unwrap();
                for member in &set.members {
                    assert!(
                        memory.deleted_at.contains_key(member),
                        "its key was not deleted before"
                    );
                    members.remove(member);
                }
            }
            let unfinished = Unfinished {
                keys: stuck,
                guards: Vec::new(),
                error: lost(),
            };
            Outcome {
                unfinished: Some(unfinished).filter(|unfinished| !unfinished.keys.is_empty()),
                ..Outcome::default()
            }
        })
    }

    async fn publish(&mut self, _: &str, _: &[u8]) -> Result<Outcome, CacheError> {
        unreachable!("nothing is announced")
    }

    async fn runs(&mut self) -> Result<Vec<ServerRun>, CacheError> {
        Ok(Vec::new())
    }
}

/// Tries until it succeeds, as the pipeline does; gives what was refused.
fn run(memory: &mut Memory, carried: &mut KeySet, pass: Pass, sets: &PairSet) -> Vec<Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        loop {
            let publications = Publications::default();
            let mut attempt = Attempt {
                pass,
                carried,
                publications: &publications,
                steps: usize::MAX,
                deletion: Deletion::default(),
            };
            attempt.delete_carried(memory).await;
            attempt.delete(memory, sets).await;
            let deletion = attempt.deletion;
            // They are carried on, as a job does.
            deletion.carried.iter().for_each(|key| {
                carried.insert(key);
            });
            if deletion.error.is_none() {
                return deletion.refused;
            }
        }
    })
}

proptest! {
    /// Wherever a call fails: every key that a set named is deleted, what left a set is deleted again in the
    /// second pass, and only members whose keys may not be deleted stay.
    #[test]
    fn no_member_leaves_without_its_key_being_deleted_twice(
        members in prop::collection::btree_map(0_u8..20, prop::collection::btree_set(10_u8..60, 0..9), 0..20),
        forbidden in prop::collection::btree_set(10_u8..60, 0..3),
        fails_at in prop::option::of((1_usize..40, any::<bool>())),
    ) {
        let name = |number: &u8| number.to_string().into_bytes();
        let mut memory = Memory {
            sets: members.iter().map(|(set, of)| (name(set), of.iter().map(name).collect())).collect(),
            keys: members.values().flatten().map(name).collect(),
            forbidden: forbidden.iter().map(name).collect(),
            fails_at,
            ..Memory::default()
        };
        let named = memory.keys.clone();
        let mut sets = PairSet::default();
        members.keys().for_each(|set| { sets.insert(&name(set), b""); });
        let mut carried = KeySet::default();
        let refused = run(&mut memory, &mut carried, Pass::First, &sets);
        for refused in &refused {
            prop_assert!(memory.forbidden.contains(&refused.key));
        }
        let stay: BTreeSet<_> = memory.sets.values().flatten().cloned().collect();
        prop_assert!(stay.is_subset(&memory.forbidden), "{:?}", stay);
        prop_assert!(memory.keys.is_subset(&memory.forbidden));
        // Fills that were slow; some of them are in their sets again, others not.
        memory.keys.extend(named.iter().cloned());
        run(&mut memory, &mut carried, Pass::Again, &sets);
        prop_assert!(memory.keys.is_subset(&memory.forbidden), "{:?}", memory.keys);
    }
}

#[test]
fn what_is_too_much_to_be_kept_stays_in_its_set_for_the_second_deletion() {
    let member = |number: u32| format!("{number:0300}").into_bytes();
    let all: BTreeSet<Vec<u8>> = (10_000..30_000).map(member).collect();
    let mut memory = Memory {
        sets: [(b"tag".to_vec(), all.clone())].into(),
        keys: all.clone(),
        ..Memory::default()
    };
    let mut sets = PairSet::default();
    sets.insert(b"tag", b"");
    let found: Vec<_> = vec![(
        Walk::new(b"tag", b""),
        TagKind::Set,
        all.iter().cloned().collect(),
    )];
    let mut carried = KeySet::default();
    let mut attempt = Attempt {
        pass: Pass::First,
        carried: &mut carried,
        publications: &Publications::default(),
        steps: usize::MAX,
        deletion: Deletion::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(attempt.delete_members(&mut memory, found))
        .unwrap();
    assert!(memory.keys.is_empty(), "all keys are deleted at once");
    let kept = &memory.sets[b"tag".as_slice()];
    assert_eq!(carried.len() + kept.len(), all.len());
    assert!(
        carried.size() < CARRIED_BYTES_MAX + 1_000,
        "{}",
        carried.size()
    );
    assert!(
        carried.len() > 10_000 && kept.len() > 3_000,
        "{}",
        kept.len()
    );
    assert!(kept.iter().all(|member| !carried.contains(member)));
}

/// Sets by their names, with the members that each has.
fn sets_of<const N: usize>(sets: [(&str, &[&str]); N]) -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
    let bytes = |text: &&str| text.as_bytes().to_vec();
    let sets = sets.map(|(set, of)| (bytes(&set), of.iter().map(bytes).collect()));
    sets.into()
}

fn named<const N: usize>(sets: [&str; N]) -> PairSet {
    let mut named = PairSet::default();
    for set in sets {
        named.insert(set.as_bytes(), b"");
    }
    named
}

#[tokio::test]
async fn a_key_that_is_no_set_is_refused_if_a_rule_names_it_and_passed_over_if_a_glob_does() {
    let mut memory = Memory {
        sets: sets_of([("10", &["20", "30"])]),
        keys: ["20", "30"].map(|key| key.as_bytes().to_vec()).into(),
        forbidden: [b"30".to_vec()].into(),
        no_sets: [b"11".to_vec(), b"12".to_vec()].into(),
        ..Memory::default()
    };
    let mut carried = KeySet::default();
    let mut attempt = Attempt {
        pass: Pass::First,
        carried: &mut carried,
        publications: &Publications::default(),
        steps: usize::MAX,
        deletion: Deletion::default(),
    };
    attempt.delete(&mut memory, &named(["11"])).await;
    attempt
        .delete_matching(&mut memory, b"1*", b"")
        .await
        .unwrap();
    let refused = attempt.deletion.refused.iter();
    let refused: Vec<_> = refused.map(|key| (&*key.key, key.code)).collect();
    assert_eq!(
        refused,
        [(&b"11"[..], "wrong-type"), (b"30", "no-permission")]
    );
    assert!(attempt.deletion.error.is_none());
    assert_eq!(memory.keys, [b"30".to_vec()].into());
}

#[tokio::test]
async fn a_set_whose_members_cannot_be_removed_remains_and_no_other() {
    let mut memory = Memory {
        sets: sets_of([("10", &["20"]), ("11", &["30"])]),
        keys: ["20", "30"].map(|key| key.as_bytes().to_vec()).into(),
        stuck: [b"11".to_vec()].into(),
        ..Memory::default()
    };
    let mut carried = KeySet::default();
    let mut attempt = Attempt {
        pass: Pass::First,
        carried: &mut carried,
        publications: &Publications::default(),
        steps: usize::MAX,
        deletion: Deletion::default(),
    };
    attempt.delete(&mut memory, &named(["10", "11"])).await;
    let remain: Vec<_> = attempt.deletion.sets.iter().collect();
    assert_eq!(remain, [(&b"11"[..], &b""[..])]);
    assert!(attempt.deletion.error.is_some());
    assert_eq!(memory.sets, sets_of([("10", &[]), ("11", &["30"])]));
    assert!(memory.keys.is_empty(), "what it names is deleted already");
}

#[test]
fn a_member_may_be_a_whole_key_or_lack_what_all_keys_begin_with() {
    let walk = Walk::new(b"tag", b"app:");
    assert_eq!(*walk.key_of(b"app:user:7"), *b"app:user:7");
    assert_eq!(*walk.key_of(b"user:7"), *b"app:user:7");
    assert_eq!(*Walk::new(b"tag", b"").key_of(b"user:7"), *b"user:7");
}
