//! The part that fits into one request, given the room and the budget.

use super::budget_mode::BudgetMode;
use crate::edge::cover::coalesce::{Cover, Room, coalesce};
use crate::edge::cover::quota::{QUOTA, count};
use crate::model::edge_item::is_tag;

/// Says what to send of sorted paths, each with the paths that it stands for.
pub(super) fn fit(
    paths: &[&str],
    room: Room,
    budget_mode: BudgetMode,
) -> Vec<(String, Vec<String>)> {
    let all = count(paths);
    let within = |limit: Room| all.singles <= limit.singles && all.wildcards <= limit.wildcards;
    let (in_quota, room) = match budget_mode {
        BudgetMode::Free => (within(QUOTA), room),
        BudgetMode::AtMost(most) if paths.len() <= most => (within(QUOTA), room),
        BudgetMode::Spent if paths.len() <= 1 => (true, room),
        BudgetMode::AtMost(most) => {
            let most = most.max(1);
            let wildcards = room.wildcards.min(most.div_ceil(2));
            let singles = room.singles.min(most - wildcards);
            (false, Room { singles, wildcards })
        }
        BudgetMode::Spent => (
            false,
            Room {
                singles: 0,
                wildcards: room.wildcards.min(1),
            },
        ),
        BudgetMode::Saving => return Vec::new(),
    };
    let as_it_is = |path: &&str| ((*path).to_owned(), vec![(*path).to_owned()]);
    // No wildcard covers tags but that of everything: those that fit when
    // nothing is in progress wait until they do.
    let tags = paths.iter().take_while(|path| is_tag(path)).count();
    if !in_quota && (room.singles + 1..=tags_max(budget_mode)).contains(&tags) {
        return paths.iter().take(room.singles).map(as_it_is).collect();
    }
    if in_quota {
        // Exact paths now or soon are better than wide ones now.
        if let Some(covers) = coalesce(paths, room).filter(|_| within(room)) {
            return covers
                .into_iter()
                .map(|cover| named(paths, cover))
                .collect();
        }
        let mut left = room;
        return paths
            .iter()
            .filter(|path| left.take(path))
            .map(as_it_is)
            .collect();
    }
    let half = Room {
        singles: room.singles,
        wildcards: room
            .wildcards
            .div_ceil(2)
            .max(all.wildcards.min(room.wildcards)),
    };
    coalesce(paths, half)
        .unwrap_or_default()
        .into_iter()
        .map(|cover| named(paths, cover))
        .collect()
}

/// Most tags that a request may hold, when nothing is in progress.
fn tags_max(budget_mode: BudgetMode) -> usize {
    match budget_mode {
        BudgetMode::Free => QUOTA.singles,
        BudgetMode::AtMost(most) => {
            let wildcards = most.div_ceil(2).min(QUOTA.wildcards);
            most.saturating_sub(wildcards).min(QUOTA.singles)
        }
        BudgetMode::Spent | BudgetMode::Saving => 0,
    }
}

fn named(paths: &[&str], cover: Cover) -> (String, Vec<String>) {
    let of = cover
        .of
        .into_iter()
        .flatten()
        .filter_map(|index| paths.get(index))
        .map(|path| (*path).to_owned())
        .collect();
    (cover.path, of)
}
