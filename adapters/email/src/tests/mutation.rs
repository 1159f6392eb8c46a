//! Mails of the corpus, changed at random and in ways that a mail can be wrong: what the fuzzer does without an end, a bounded number
//! of times. `MAIL_MUTATIONS` is how many, `MAIL_SEED` repeats a run.

use super::damage::{CORPUS, holds};

/// What a reader of mails looks for.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\xff\xfe",
    b"--",
    b"=?utf-8?B?",
    b"=?iso-2022-jp?Q?=1B$B",
    b"?=",
    b"Content-Type: multipart/mixed; boundary=\"\"\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: multipart/report; report-type=delivery-status\r\n",
    b"Content-Type: application/ms-tnef\r\n",
    b"Content-Transfer-Encoding: x-uuencode\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%",
    b"References: <",
    b"From: \"",
    b"<![CDATA[<table><td><blockquote type=cite>",
    b"</div></div></div>",
    b"=\r\n=3D=",
    b"begin 644 x\r\n",
    b"99999999999999999999",
    b"+AGEAYg-",
];

/// A small generator of its own (SplitMix64): the same seed gives the same mails on every machine.
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

    /// Two places, in order.
    fn range(&mut self, mail: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(mail.len() + 1);
        let length = self.below(longest).min(mail.len() - start);
        start..start + length
    }
}

fn mutate(mail: &mut Vec<u8>, dice: &mut Dice) {
    let range = dice.range(mail, 200);
    match dice.below(8) {
        0 => mail.iter_mut().skip(range.start).take(1).for_each(|b| *b ^= 1 << dice.below(8)),
        1 => drop(mail.drain(range)),
        2 => {
            let piece = mail[range.clone()].to_vec();
            mail.splice(range.end..range.end, piece);
        }
        3 => {
            let word = WORDS[dice.below(WORDS.len())];
            mail.splice(range.start..range.start, word.iter().copied());
        }
        4 => {
            let word = WORDS[dice.below(WORDS.len())];
            mail.splice(range, word.iter().copied());
        }
        5 => {
            let other = &CORPUS[dice.below(CORPUS.len())];
            let piece = dice.range(other, 2000);
            mail.splice(range.start..range.start, other[piece].iter().copied());
        }
        6 => {
            // Two lines change places.
            let mut lines: Vec<Vec<u8>> = mail.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            if lines.len() > 1 {
                let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
                lines.swap(a, b);
            }
            *mail = lines.concat();
        }
        _ => mail.truncate(range.end),
    }
    mail.truncate(200_000);
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |n| n.parse().unwrap())
}

#[test]
fn every_mail_of_the_corpus_is_read_however_it_was_changed() {
    let (count, seed) = (number("MAIL_MUTATIONS", 1500), number("MAIL_SEED", 1));
    println!("MAIL_SEED={seed}");
    let mut changed = 0;
    for n in 0..count {
        let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(n));
        let original = &CORPUS[dice.below(CORPUS.len())];
        let mut mail = original.clone();
        for _ in 0..1 + dice.below(12) {
            mutate(&mut mail, &mut dice);
        }
        changed += u64::from(mail != *original);
        if std::panic::catch_unwind(|| holds(&mail)).is_err() {
            panic!("MAIL_SEED={seed}, mail {n}: {:?}", String::from_utf8_lossy(&mail));
        }
    }
    assert!(changed > count * 9 / 10, "{changed} of {count} were changed");
}
