//! Examples of the names that the account in Redis must have permission for:
//! names that keys could have and no key has.

use super::rule_set::Rules;
use super::template::{Template, TemplatePart};
use crate::model::CacheUses;

impl Rules {
    /// The names as they would be if every column held `value`.
    pub fn permission_probe(&self, value: &str) -> CacheUses {
        let name = |template: &Template| name(template, &self.key_prefix, value);
        let mut probe = CacheUses::default();
        for rule in self.iter() {
            let cascades = rule.cascade_from.iter().flat_map(|from| &from.keys);
            let keys = rule.keys.iter().chain(cascades);
            let varying = keys.filter(|template| template.placeholders().next().is_some());
            probe.keys.extend(varying.map(name));
            let wide = &rule.table_wide;
            probe.globs |= !wide.keys.is_empty() || !wide.tag_sets.is_empty();
            probe.generations.extend(wide.generation.clone());
            let guards = rule.guard.iter().map(|guard| name(&guard.key));
            probe.guards.extend(guards);
            let sets = rule.tag_sets.iter().map(|set| name(&set.key));
            probe.tag_sets.extend(sets);
            let hashes = rule.hash_fields.iter().map(|hash| name(&hash.key));
            probe.hashes.extend(hashes);
            let channel = rule.channel.as_ref();
            probe
                .channels
                .extend(channel.map(|channel| channel.as_bytes().to_vec()));
        }
        probe
    }
}

fn name(template: &Template, prefix: &[u8], value: &str) -> Vec<u8> {
    let mut name = prefix.to_vec();
    for part in &template.parts {
        match part {
            TemplatePart::Literal(bytes) => name.extend_from_slice(bytes),
            TemplatePart::Placeholder(_) => name.extend_from_slice(value.as_bytes()),
        }
    }
    name
}
