//! Inputs that are nearly right: copies of valid ones with a few changes.
//!
//! Random bytes seldom get past the first check of a reader. So a change knows what files are made of: numbers in text
//! become extreme ones, lengths in binary headers become wrong ones, words of the format appear where they do not
//! belong, and pieces of other valid inputs are put in.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::readers::Reader;

/// Longest input that is made, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// Numbers that stand in for others.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2147483647",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "1e999",
    "-1e-999",
    "1.5",
    "NaN",
    "0x10",
    "null",
    "\"1\"",
    "[]",
    "{}",
    "true",
];

/// Lengths that stand in for others, as little-endian words.
const LENGTHS: &[u64] =
    &[0, 1, 2, 7, 8, 255, 256, 65_535, 65_536, 1 << 31, (1 << 32) - 1, 1 << 40, i64::MAX as u64, u64::MAX];

/// A stream of random choices.
struct Choices(ChaCha8Rng);

impl Choices {
    /// Returns a number below `bound`. That small ones are a little likelier does no harm here.
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Returns an input of a reader. The same number gives the same input; the first ones are the valid inputs themselves.
pub fn input(reader: &Reader, corpus: &[Vec<Vec<u8>>], number: u64) -> Vec<Vec<u8>> {
    if let Some(valid) = usize::try_from(number).ok().and_then(|number| corpus.get(number)) {
        return valid.clone();
    }
    let mut choices = Choices(ChaCha8Rng::seed_from_u64(number));
    let mut parts = choices.of(corpus).clone();
    let changed = choices.below(parts.len());
    for place in 0..parts.len() {
        // Mostly one part is wrong among others that are right.
        if place != changed && choices.below(8) != 0 {
            continue;
        }
        for _ in 0..1 + choices.below(4) {
            change(&mut parts[place], reader, corpus, place, &mut choices);
        }
        if choices.below(2) == 0 {
            (reader.mend)(&mut parts[place]);
        }
        parts[place].truncate(MOST_BYTES);
    }
    parts
}

fn change(
    bytes: &mut Vec<u8>,
    reader: &Reader,
    corpus: &[Vec<Vec<u8>>],
    place: usize,
    choices: &mut Choices,
) {
    let at = choices.below(bytes.len() + 1);
    let end = (at + choices.below(24)).min(bytes.len());
    match choices.below(11) {
        0 => drop(bytes.drain(at..end)),
        1 => bytes.truncate(at),
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << choices.below(8);
            }
        }
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = choices.0.next_u64() as u8;
            }
        }
        4 => {
            let word = *choices.of(reader.words);
            bytes.splice(at..end, word.bytes());
        }
        5 => {
            let word = *choices.of(reader.words);
            let times = 1 + choices.below(200);
            bytes.splice(at..at, word.repeat(times).bytes());
        }
        6 => {
            let other = &choices.of(corpus)[place];
            let from = choices.below(other.len() + 1);
            let to = (from + choices.below(200)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        7 => {
            let copied = bytes[at..end].to_vec();
            let times = 1 + choices.below(20);
            bytes.splice(at..at, copied.repeat(times));
        }
        8 | 9 => replace_number(bytes, at, choices.of::<&str>(NUMBERS)),
        _ => {
            let width = *choices.of(&[2, 4, 8]);
            let length = choices.of(LENGTHS).to_le_bytes();
            // Headers have their lengths at the beginning.
            let at = if choices.below(2) == 0 { choices.below(16) } else { at };
            if let Some(target) = bytes.get_mut(at..at + width) {
                target.copy_from_slice(&length[..width]);
            }
        }
    }
}

/// Replaces the first number in digits after a place.
fn replace_number(bytes: &mut Vec<u8>, at: usize, by: &str) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[at..].iter().position(is_digit).map(|offset| at + offset) else { return };
    let digits = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
    bytes.splice(start..start + digits, by.bytes());
}

/// Writes the parts of an input in a row, each behind its length, if there are several.
pub fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    if let [only] = parts {
        return only.clone();
    }
    let part = |part: &Vec<u8>| [&(part.len() as u32).to_le_bytes(), &part[..]].concat();
    parts.iter().flat_map(part).collect()
}

/// Returns the `count` parts of an input. What is too short has empty parts.
pub fn split(bytes: &[u8], count: usize) -> Vec<Vec<u8>> {
    if count == 1 {
        return vec![bytes.to_vec()];
    }
    let mut rest = bytes;
    let mut next = || {
        let (length, behind) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let (part, behind) = behind.split_at((u32::from_le_bytes(*length) as usize).min(behind.len()));
        rest = behind;
        part.to_vec()
    };
    (0..count).map(|_| next()).collect()
}
