//! Suggestions for what was mistyped.

/// So many are told.
pub(super) const MOST: usize = 5;
/// Below this similarity (Jaro-Winkler) words have nothing to do with each other.
const CLOSE: f64 = 0.8;

/// Those that contain the word, then those that look like it, best first.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = word.to_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        if candidate.contains(&lower) { 2.0 } else { strsim::jaro_winkler(&candidate, &lower) }
    };
    let mut scored: Vec<(f64, &str)> = candidates.into_iter().map(|c| (score(c), c)).collect();
    scored.retain(|(score, _)| *score >= CLOSE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(MOST);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The question, where something is close.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    match closest(word, candidates).as_slice() {
        [] => None,
        names => Some(format!("did you mean {}?", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_parts_of_names() {
        let rules = ["ohlcv.within_limits", "ohlcv.high_is_highest", "row.in_range"];
        for (word, first) in
            [("ohlcv.within_limit", rules[0]), ("high_is", rules[1]), ("ohlcv.higth_is_highest", rules[1])]
        {
            assert_eq!(closest(word, rules).first(), Some(&first), "{word}");
        }
        assert_eq!(did_you_mean("zebra", rules), None);
    }
}
