//! The order of epochs: which of two incarnations of a room's stream is the newer one.
//!
//! An epoch is named `NUMBER-SUFFIX`: nine digits of base 36 and four random ones. The number is the
//! larger of the broker's clock (milliseconds since 1970) and the newest known number plus one, so a
//! later epoch has a larger number even where the clock went back. Names of another form are from
//! versions before that rule, and sort below all others. The publish script of the Redis broker reads
//! and makes the same form in Lua (`epoch.lua`).

use crate::Epoch;
use crate::id::random_name;

/// Digits of the number: enough until the year 5188.
const DIGITS: usize = 9;
const BASE: u32 = 36;
/// Digits of the random suffix, which tells two epochs apart that two brokers began at once.
const SUFFIX_DIGITS: usize = 4;

/// How one epoch relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochOrder {
    /// They are the same one.
    Same,
    /// It began later.
    Newer,
    /// It began earlier.
    Older,
    /// Two brokers began them without knowing of each other: neither may be followed.
    Rival,
}

impl Epoch {
    /// A new epoch. Its number is the larger of `now` (milliseconds since 1970) and `floor` + 1.
    #[must_use]
    pub fn begin(now: u64, floor: u64) -> Self {
        let name = format!("{}-{}", digits(now.max(floor + 1)), Self::suffix());
        Self::new(&name).expect("digits and a dash are a valid epoch")
    }

    /// The random end of a new epoch's name.
    #[must_use]
    pub fn suffix() -> String {
        random_name(SUFFIX_DIGITS)
    }

    /// Its place in the order of epochs; 0 for names from before there was one.
    #[must_use]
    pub fn number(&self) -> u64 {
        let number = self.as_str().split_once('-').map(|(number, _)| number);
        let number = number.filter(|number| {
            let is_digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
            number.len() == DIGITS && number.bytes().all(is_digit)
        });
        number
            .and_then(|number| u64::from_str_radix(number, BASE).ok())
            .unwrap_or(0)
    }

    /// How this epoch relates to `other`.
    #[must_use]
    pub fn order(&self, other: &Self) -> EpochOrder {
        if self == other {
            return EpochOrder::Same;
        }
        match self.number().cmp(&other.number()) {
            std::cmp::Ordering::Greater => EpochOrder::Newer,
            std::cmp::Ordering::Less => EpochOrder::Older,
            std::cmp::Ordering::Equal => EpochOrder::Rival,
        }
    }
}

/// `number` in base 36, with zeros before it.
fn digits(mut number: u64) -> String {
    let mut reversed = Vec::with_capacity(DIGITS);
    while number > 0 || reversed.len() < DIGITS {
        let digit = u32::try_from(number % u64::from(BASE)).expect("a digit is below 36");
        reversed.push(char::from_digit(digit, BASE).expect("a digit is below 36"));
        number /= u64::from(BASE);
    }
    reversed.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(name: &str) -> Epoch {
        Epoch::new(name).unwrap()
    }

    #[test]
    fn a_new_epoch_is_above_the_clock_and_above_what_is_known() {
        let now = 1_796_000_000_000;
        assert_eq!(Epoch::begin(now, 5).number(), now);
        assert_eq!(Epoch::begin(now, now + 7).number(), now + 8);
        let first = Epoch::begin(now, 0);
        assert_eq!(first.as_str().len(), DIGITS + 1 + SUFFIX_DIGITS);
        assert_eq!(
            Epoch::begin(now, first.number()).order(&first),
            EpochOrder::Newer
        );
    }

    #[test]
    fn names_from_before_the_order_sort_lowest() {
        for old in ["k3f9q2x1", "e", "abcdefghi", "ABCDEFGHI-x", "abc-defgh"] {
            assert_eq!(epoch(old).number(), 0, "{old}");
            assert_eq!(Epoch::begin(1, 0).order(&epoch(old)), EpochOrder::Newer);
        }
        assert_eq!(
            epoch("k3f9q2x1").order(&epoch("m7q2x1k3")),
            EpochOrder::Rival
        );
    }

    #[test]
    fn epochs_are_ordered_by_number_and_rivals_by_nothing() {
        let (one, two) = (epoch("0mx000000-aaaa"), epoch("0mx000001-0000"));
        assert_eq!(one.order(&two), EpochOrder::Older);
        assert_eq!(two.order(&one), EpochOrder::Newer);
        assert_eq!(one.order(&one.clone()), EpochOrder::Same);
        assert_eq!(one.order(&epoch("0mx000000-aaab")), EpochOrder::Rival);
    }

    #[test]
    fn digits_sort_like_numbers() {
        assert_eq!(digits(0), "000000000");
        assert_eq!(digits(35), "00000000z");
        assert!(digits(1_796_000_000_000) < digits(1_796_000_000_001));
    }
}
