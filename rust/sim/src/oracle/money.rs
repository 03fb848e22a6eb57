//! Money is moved, never made.
//!
//! What an application means by its transactions still holds: whatever was committed, the sum of
//! all accounts is what they were created with. It follows from the other invariants, and is how a
//! user would notice that one of them is wrong.

use super::Found;
use super::history::History;
use crate::hosts::client::record::INITIAL_BALANCE;

/// Adds everything up.
pub fn check(history: &History) -> Found {
    let accounts = history.objects.values().filter_map(|revisions| revisions.last_key_value());
    let (mut count, mut sum) = (0, 0);
    for (_, record) in accounts {
        count += 1;
        sum += record.balance;
    }
    let expected = INITIAL_BALANCE * count;
    if sum == expected {
        return Found::new();
    }
    vec![("money is not made", format!("{count} accounts hold {sum} instead of {expected}"))]
}
