//! The paths that the search holds or covers, on the board.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::isolate::Isolation;
use super::refused_paths::RefusedPath;
use super::suspects::SuspectGroup;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::progress::board::Component;

/// Time after which it is trouble that it is not known which path of a request is refused.
const SEARCHED_WITHIN: Duration = Duration::from_secs(45);

impl<B: Buffer, E: Edge> Isolation<'_, B, E> {
    pub(super) fn component(&self) -> Component {
        Component::Paths(Arc::clone(&self.name))
    }

    /// Says since when paths are refused and held, or that none is.
    pub(super) fn report(&mut self) {
        let known = self.distribution.suspects();
        let groups = self.suspects.groups().iter();
        let held = groups.filter_map(|group| match &*group.paths {
            [path] => {
                let refused = known.refused(path).filter(RefusedPath::is_trouble)?;
                let committed_at = self.suspects.committed_at(&group.tenant, path);
                let since = committed_at.map_or(refused.since, |at| at.min(refused.since));
                Some((since, path, refused))
            }
            _ => None,
        });
        let held: Vec<_> = held.collect();
        let is_long = |group: &&SuspectGroup| {
            group.since.elapsed() > SEARCHED_WITHIN
                && known.accepts(&group.tenant)
                && known.refused_group(&group.tenant, &group.paths).is_none()
        };
        let long = self.suspects.groups().iter().filter(is_long);
        let long: Vec<_> = long.collect();
        let covers = self.distribution.covers.trouble();
        let board = &self.parts.reports.board;
        let oldest = held.iter().min_by_key(|(since, ..)| since);
        if let Some((since, path, refused)) = oldest {
            let text = format!(
                "{path} was refused (times: {}), and is tried again within five minutes; correct the rule that makes it, or what CloudFront's answer names (such paths: {}): {}",
                refused.times,
                held.len(),
                refused.refusal.reason,
            );
            board.failing_since(&self.component(), *since, text);
        } else if let Some((since, text)) = &covers {
            board.failing_since(&self.component(), *since, text.clone());
        } else if let Some(since) = long.iter().map(|group| group.since).min() {
            let paths: usize = long.iter().map(|group| group.paths.len()).sum();
            let text = format!(
                "{paths} paths have shared requests with paths that CloudFront refuses, and it is not known yet which those are; correct the rule that makes them: the log names those that were refused alone"
            );
            let age = since.elapsed().try_into().unwrap_or_default();
            let since = Timestamp::now().checked_sub::<SignedDuration>(age);
            board.failing_since(&self.component(), since.unwrap_or_default(), text);
        } else if self.reports {
            board.recovered(&self.component());
        }
        self.reports = covers.is_some() || oldest.is_some() || !long.is_empty();
    }
}
