//! Numbers of sessions in a row as a line of blocks.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', ',', '-', '~', '=', '+', '#'];

/// The last numbers as blocks, a blank for each that is not known. The highest fills its place; the lowest stands on the
/// ground only if it is less than half of it: small changes of large counts are no drama.
pub(super) fn line(numbers: &[Option<i64>], most: usize, ascii: bool) -> String {
    let numbers = &numbers[numbers.len().saturating_sub(most)..];
    let known = || numbers.iter().copied().flatten();
    let highest = known().max().unwrap_or(0).max(1);
    let ground = known().min().unwrap_or(0).min(highest / 2);
    let blocks = if ascii { ASCII } else { BLOCKS };
    let block = |n: i64| {
        let step = (n - ground) * 7 / (highest - ground).max(1);
        blocks[usize::try_from(step).unwrap_or(0).min(7)]
    };
    numbers.iter().map(|n| n.map_or(' ', block)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let numbers = [Some(0), Some(50), None, Some(100)];
        assert_eq!(line(&numbers, 9, false), "▁▄ █");
        assert_eq!(line(&numbers, 2, true), " #");
        assert_eq!(line(&[Some(2760), Some(2761)], 9, false), "▇█");
        assert_eq!(line(&[None], 9, false), " ");
        assert_eq!(line(&[Some(0), Some(0)], 9, false), "▁▁");
    }
}
