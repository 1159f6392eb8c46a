//! What the fuzzer does without an end, a bounded number of times: every seed, and changes of them that are the same on every machine.
//! `FUZZ_MUTATIONS` is how many for each target, `FUZZ_SEED` repeats a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use switchboard_fuzz::{NAMES, Target, seeds, target};

/// What readers of JSON, of forms and of mails stumble over.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\r\n\r\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud83d",
    b"\\u0000",
    b"%",
    b"%00",
    b"%F0%9F%98",
    b"&&=&",
    b"&text=",
    b"-1",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"true",
    b"{}",
    b"[[[[[[[[[[[[[[[[",
    b"\"\"",
    b",\"id\":",
    b"2026-02-30T25:61:61.999999999999Z",
    b"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9",
    b"\xe2\x80\xae",
];
const LONGEST: usize = 65_536;

/// A small generator of its own (SplitMix64): the same seed gives the same inputs on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % (most.max(1) as u64)).unwrap()
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Two places, in order.
    fn range(&mut self, input: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let length = self.below(longest).min(input.len() - start);
        start..start + length
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let range = dice.range(input, 60);
    match dice.below(7) {
        0 => input.iter_mut().skip(range.start).take(1).for_each(|b| *b ^= 1 << dice.below(8)),
        1 => drop(input.drain(range)),
        2 => {
            let piece = input[range.clone()].repeat(1 + dice.below(4));
            input.splice(range.end..range.end, piece);
        }
        3 => drop(input.splice(range.start..range.start, dice.one(&WORDS).iter().copied())),
        4 => drop(input.splice(range, dice.one(&WORDS).iter().copied())),
        5 => {
            let other = dice.one(seeds);
            let piece = dice.range(other, 600);
            input.splice(range.start..range.start, other[piece].iter().copied());
        }
        _ => input.truncate(range.end),
    }
    input.truncate(LONGEST);
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |n| n.parse().unwrap())
}

fn holds(name: &str, which: &str, target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{name}, {which}: {:?}", String::from_utf8_lossy(input));
    }
}

fn every_change_is_read(names: &[&str]) {
    let (count, seed) = (number("FUZZ_MUTATIONS", 400), number("FUZZ_SEED", 1));
    println!("FUZZ_SEED={seed}");
    for name in names {
        let (target, seeds) = (target(name).unwrap(), seeds(name));
        assert!(!seeds.is_empty(), "{name} begins with nothing");
        for (n, input) in seeds.iter().enumerate() {
            holds(name, &format!("seed {n}"), &target, input);
        }
        for n in 0..count {
            let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(n));
            let mut input = dice.one(&seeds).clone();
            for _ in 0..1 + dice.below(8) {
                mutate(&mut input, &seeds, &mut dice);
            }
            holds(name, &format!("FUZZ_SEED={seed}, change {n}"), &target, &input);
        }
    }
}

#[test]
fn texts_of_every_provider_are_read_however_they_were_changed() {
    every_change_is_read(&["twilio", "vonage", "kannel", "jasmin", "http"]);
}

#[test]
fn messengers_are_read_however_they_were_changed() {
    every_change_is_read(&["messenger", "instagram", "whatsapp", "telegram"]);
}

#[test]
fn posts_and_webhooks_are_read_however_they_were_changed() {
    every_change_is_read(&["twitter", "twitter-tokens", "webhook"]);
}

#[test]
fn answers_of_desks_are_read_however_they_were_changed() {
    every_change_is_read(&["slack"]);
}

#[test]
fn mails_are_read_however_they_were_changed() {
    every_change_is_read(&["mail"]);
    every_change_is_read(&["imap", "lmtp"]);
}

#[test]
fn every_target_has_a_test_and_no_other_name_is_one() {
    let source = include_str!("mutations.rs");
    for name in NAMES {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is tried by no test");
    }
    assert!(target("pigeon").is_none());
}
