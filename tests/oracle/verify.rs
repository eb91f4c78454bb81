//! The comparison, after evictd is done.

use std::collections::BTreeMap;

use super::edge::{At, Edge, Page};
use super::failure::{Failure, Kind, named, told};
use super::rules::Shape;
use super::snapshot::{Name, Place, is_stale};
use super::steps::Allows;
use super::world::{POLL_EVERY, World};

/// 25 s where nothing else runs: what a killed evictd may have asked for is looked for in CloudFront's list for fifteen
/// seconds, and five is the longest pause between two attempts.
const POLLS_MAX: usize = 5_000;

impl World<'_> {
    /// Every entry and every page says what the rows say, and what was not changed is there still.
    pub async fn verify(&mut self) -> Result<(), Failure> {
        let names: Vec<(Place, Name)> = self.known.iter().cloned().collect();
        let entries = self.cache.read(&names).await;
        self.done.compared += entries.len() as u64;
        for (of @ (place, name), content) in &entries {
            let rule = &self.case.rules[place.0];
            let now = self.now.content(*place, name);
            let shape = &rule.families[place.1].shape;
            // Nobody asks for a version that no row has.
            if matches!(shape, Shape::Versioned) && now.is_empty() {
                continue;
            }
            if is_stale(content, now, rule, &self.added) {
                let text = format!(
                    "{} is {} and not {}",
                    named(&self.case.rules, of),
                    told(content),
                    told(&now.to_vec())
                );
                return Err(self.failure(Kind::Stale, text));
            }
        }
        self.verify_pages().await?;
        self.verify_bill()?;
        for (of, content) in &self.kept {
            if entries.contains_key(of) || self.touched.contains(of) || self.may_widen(of.0) {
                continue;
            }
            let text = format!(
                "{}, which is {}",
                named(&self.case.rules, of),
                told(content)
            );
            return Err(self.failure(Kind::NeedlesslyDeleted, text));
        }
        Ok(())
    }

    /// A path may still wait for room at CloudFront, when its key is long gone.
    async fn verify_pages(&mut self) -> Result<(), Failure> {
        let mut polls = 0;
        loop {
            polls += 1;
            let Some(((distribution, path), page)) = self.stale_page() else {
                return Ok(());
            };
            if polls > POLLS_MAX {
                let now = self.now.content(page.of.0, &page.of.1).to_vec();
                let text = format!(
                    "the copy of {path} at {distribution} is {} and not {}",
                    told(&page.content),
                    told(&now)
                );
                return Err(self.failure(Kind::StalePage, text));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Nothing was invalidated that was not changed, or more often than it was.
    fn verify_bill(&mut self) -> Result<(), Failure> {
        let Some(edge) = &self.edge else {
            return Ok(());
        };
        let made = edge.fake.made();
        let mut paid: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for made in made.get(self.billed..).unwrap_or_default() {
            for path in &made.paths {
                *paid.entry((&made.distribution, path)).or_default() += 1;
            }
        }
        let widens = |path: &str| {
            let place = self.case.place_of(path);
            place.is_none_or(|place| {
                let late = path.ends_with('*') && self.is_allowed(place.0, &self.allowed_before);
                late || self.may_widen(place) || self.untagged.contains(&place)
            })
        };
        let more = paid.into_iter().find(|((_, path), times)| {
            !self.pays_twice
                && *times > self.paid_for.get(*path).copied().unwrap_or_default()
                && !widens(path)
        });
        if let Some(((id, path), times)) = more {
            let asked = self.paid_for.get(path).copied().unwrap_or_default();
            let text = format!("{path} was invalidated {times} times at {id}, for {asked} changes");
            return Err(self.failure(Kind::PaidNeedlessly, text));
        }
        let foreign = made
            .iter()
            .flat_map(|made| &made.paths)
            .find(|path| self.foreign.contains(path));
        if let Some(path) = foreign {
            let text = format!("{path} is another configuration's");
            return Err(self.failure(Kind::PaidNeedlessly, text));
        }
        self.billed = made.len();
        Ok(())
    }

    fn stale_page(&self) -> Option<(At, Page)> {
        let pages = self.edge.as_ref().map(Edge::pages).unwrap_or_default();
        pages.into_iter().find(|(_, page)| {
            let (place, name) = &page.of;
            let rule = &self.case.rules[place.0];
            is_stale(
                &page.content,
                self.now.content(*place, name),
                rule,
                &self.added,
            )
        })
    }

    /// Whether something happened since the last quiet point that says nothing of single rows.
    fn may_widen(&self, (number, family): Place) -> bool {
        let rule = &self.case.rules[number];
        let mut unfit = self.unfit.iter();
        self.case.lacks_columns(rule, &rule.families[family])
            || unfit.any(|table| rule.is_about(table))
            || self.is_allowed(number, &self.allowed)
    }

    fn is_allowed(&self, number: usize, allowed: &[Allows]) -> bool {
        let rule = &self.case.rules[number];
        let about = |allows: &Allows| match allows {
            Allows::Nothing => false,
            // `lower_case_table_names=1` stores names in lower case, however they were typed.
            Allows::Tables(tables) => {
                let mut names = tables
                    .iter()
                    .flat_map(|name| [name.clone(), name.to_lowercase()]);
                names.any(|name| rule.is_about(&name))
            }
            Allows::Everything => true,
        };
        allowed.iter().any(about)
    }
}
