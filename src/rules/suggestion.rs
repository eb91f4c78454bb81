//! Suggestions for misspelt names.

/// `; did you mean …?` if one of `known` is close to `name`, or else nothing.
pub fn suggestion<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}
