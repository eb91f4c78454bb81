use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::edge_item::is_wildcard;

const WIDE: Room = Room {
    singles: 3_000,
    wildcards: 15,
};

fn sorted(paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let set: BTreeSet<String> = paths.into_iter().collect();
    set.into_iter().collect()
}

fn sent(paths: &[&str], singles: usize, wildcards: usize) -> Option<Vec<String>> {
    let paths = sorted(paths.iter().map(|path| (*path).to_owned()));
    let covers = coalesce(&paths, Room { singles, wildcards })?;
    Some(covers.into_iter().map(|cover| cover.path).collect())
}

#[test]
fn what_fits_goes_as_it_is_without_what_a_wildcard_covers() {
    let paths = [
        "/b", "/a/1", "/a/*", "/a/!", "/a", "/a/b/*", "/a/b/c", "/ab",
    ];
    assert_eq!(sent(&paths, 3, 1).unwrap(), ["/a", "/a/*", "/ab", "/b"]);
}

#[test]
fn what_does_not_fit_is_covered_as_narrowly_as_the_room_allows() {
    let shop = [
        "/about",
        "/products/lamp/1",
        "/products/lamp/2",
        "/products/lamp/3",
        "/products/sofa/1",
        "/products/sofa/2",
        "/users/ada",
    ];
    for (singles, wildcards, expected) in [
        (7, 0, Some(shop.to_vec())),
        (
            6,
            1,
            Some(vec![
                "/about",
                "/products/lamp/*",
                "/products/sofa/1",
                "/products/sofa/2",
                "/users/ada",
            ]),
        ),
        (
            4,
            2,
            Some(vec![
                "/about",
                "/products/lamp/*",
                "/products/sofa/1",
                "/products/sofa/2",
                "/users/ada",
            ]),
        ),
        (
            3,
            2,
            Some(vec![
                "/about",
                "/products/lamp/*",
                "/products/sofa/*",
                "/users/ada",
            ]),
        ),
        (2, 1, Some(vec!["/about", "/products/*", "/users/ada"])),
        (1, 1, Some(vec!["/*"])),
        (0, 3, Some(vec!["/*"])),
        (6, 0, None),
    ] {
        let expected = expected.map(|paths| paths.into_iter().map(str::to_owned).collect());
        assert_eq!(
            sent(&shop, singles, wildcards),
            expected,
            "{singles} {wildcards}"
        );
    }
}

#[test]
fn one_more_digit_is_not_worth_nine_wildcards() {
    let paths = sorted((0..100_000).map(|n| format!("/products/{n:05}")));
    let covers = coalesce(&paths, WIDE).unwrap();
    assert_eq!(covers.len(), 1);
    assert_eq!(covers[0].path, "/products/*");
    assert_eq!(covers[0].of.iter().cloned().flatten().count(), 100_000);
}

#[test]
fn small_groups_stay_exact_beside_a_large_one() {
    let few = (0..500).map(|n| format!("/users/{n}"));
    let many = (0..50_000).map(|n| format!("/products/{n}"));
    let covers = coalesce(&sorted(few.chain(many)), WIDE).unwrap();
    assert_eq!(covers.len(), 501);
    assert!(covers.iter().any(|cover| cover.path == "/products/*"));
}

#[test]
fn a_wildcard_never_cuts_an_escape() {
    let paths = ["/caf%C3%A9/1", "/caf%C3%A8/1", "/caf%C3%A9/2"];
    assert_eq!(sent(&paths, 0, 1).unwrap(), ["/caf%C3*"]);
}

#[test]
fn more_wildcards_than_fit_become_fewer() {
    let paths = sorted((0..40).map(|n| format!("/categories/{n:02}/*")));
    let covers = coalesce(&paths, WIDE).unwrap();
    assert_eq!(covers.len(), 1);
    assert_eq!(covers[0].path, "/categories/*");
}

#[test]
fn tags_go_as_they_are_or_under_everything() {
    let items = ["#a*", "#ab", "#b", "/a/1", "/a/2", "/b"];
    for (singles, wildcards, expected) in [
        (6, 0, Some(items.to_vec())),
        (4, 1, Some(vec!["#a*", "#ab", "#b", "/a/*", "/b"])),
        (3, 1, Some(vec!["/*"])),
        (2, 9, Some(vec!["/*"])),
        (2, 0, None),
        (5, 0, None),
    ] {
        let expected = expected.map(|items| items.into_iter().map(str::to_owned).collect());
        assert_eq!(
            sent(&items, singles, wildcards),
            expected,
            "{singles} {wildcards}"
        );
    }
    let all = ["#a", "/*", "/a", "/a*"];
    assert_eq!(sent(&all, 9, 9).unwrap(), ["/*"]);
    assert_eq!(sent(&all, 9, 0), None);
}

fn any_paths() -> impl Strategy<Value = Vec<String>> {
    let path = "(/(a|b|ab|%C3%A9|%C3|!|[0-9]{1,3})){1,4}[*]?|/[*]";
    let tag = "#[ab]{1,3}[*]?";
    let item = prop_oneof![9 => path, 1 => tag];
    prop::collection::vec(item, 1..60)
}

fn any_room() -> impl Strategy<Value = Room> {
    let fields = (0_usize..20, 0_usize..5);
    fields.prop_map(|(singles, wildcards)| Room { singles, wildcards })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_path_is_matched_and_the_room_never_exceeded(
        paths in any_paths(), room in any_room(),
    ) {
        let paths = sorted(paths);
        let Some(covers) = coalesce(&paths, room) else {
            prop_assert_eq!(room.wildcards, 0, "only the want of a wildcard makes it wait");
            return Ok(());
        };
        let wildcards = covers.iter().filter(|cover| is_wildcard(&cover.path)).count();
        prop_assert!(wildcards <= room.wildcards);
        prop_assert!(covers.len() - wildcards <= room.singles);
        let mut covered = Vec::new();
        for cover in &covers {
            for index in cover.of.iter().cloned().flatten() {
                prop_assert!(matches(&cover.path, &paths[index]), "{} {}", cover.path, paths[index]);
                covered.push(index);
            }
        }
        covered.sort_unstable();
        prop_assert_eq!(covered, (0..paths.len()).collect::<Vec<_>>(), "each exactly once");
        for cover in &covers {
            let matching = covers.iter().filter(|other| matches(&other.path, &cover.path));
            prop_assert_eq!(matching.count(), 1, "{} is sent once", &cover.path);
        }
    }

    #[test]
    fn the_order_in_which_paths_come_makes_no_difference(
        (paths, shuffled) in any_paths()
            .prop_flat_map(|paths| (Just(paths.clone()), Just(paths).prop_shuffle())),
        room in any_room(),
    ) {
        prop_assert_eq!(coalesce(&sorted(paths), room), coalesce(&sorted(shuffled), room));
    }

    #[test]
    fn what_fits_is_never_widened(paths in any_paths()) {
        let paths = sorted(paths);
        let room = Room { singles: 60, wildcards: 60 };
        for cover in coalesce(&paths, room).unwrap() {
            prop_assert!(paths.contains(&cover.path));
        }
    }
}
