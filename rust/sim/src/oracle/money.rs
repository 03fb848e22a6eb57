//! Money is moved, never made.
//!
//! What an application means by its transactions still holds: whatever was committed, the sum of
//! all accounts that exist is what they were created with. Who deletes one moves away what is there
//! above or below this, and an undo moves it back. It follows from the other invariants, and is how
//! a user would notice that one of them is wrong.

use super::Found;
use super::history::History;
use crate::hosts::client::record::INITIAL_BALANCE;

/// Adds everything up.
pub fn check(history: &History) -> Found {
    let last = history.objects.values().filter_map(|revisions| revisions.last_key_value());
    let accounts = last.filter_map(|(_, stored)| stored.record);
    let (mut count, mut sum) = (0, 0);
    for record in accounts {
        count += 1;
        sum += record.balance;
    }
    let expected = INITIAL_BALANCE * count;
    if sum == expected {
        return Found::new();
    }
    vec![("money is not made", format!("{count} accounts hold {sum} instead of {expected}"))]
}
