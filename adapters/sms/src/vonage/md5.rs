//! MD5 (RFC 1321) and its HMAC (RFC 2104): two of Vonage's signature methods, which the crypto library rightly does not have.
//! Nothing else here may use them.

const BLOCK: usize = 64;

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The digest of `data`.
pub(super) fn md5(data: &[u8]) -> [u8; 16] {
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != 56 {
        padded.push(0);
    }
    let bits = (data.len() as u64).wrapping_mul(8);
    padded.extend(bits.to_le_bytes());
    let (blocks, _) = padded.as_chunks::<BLOCK>();
    let state = blocks.iter().fold([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], round);
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(state.iter().flat_map(|word: &u32| word.to_le_bytes())) {
        *to = from;
    }
    digest
}

fn round(state: [u32; 4], block: &[u8; BLOCK]) -> [u32; 4] {
    let (words, _) = block.as_chunks::<4>();
    let [mut a, mut b, mut c, mut d] = state;
    for i in 0..64usize {
        let (mixed, at) = match i / 16 {
            0 => ((b & c) | (!b & d), i),
            1 => ((d & b) | (!d & c), 5 * i + 1),
            2 => (b ^ c ^ d, 3 * i + 5),
            _ => (c ^ (b | !d), 7 * i),
        };
        let word = words.get(at % 16).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let shift = SHIFTS.get(i / 16).and_then(|row| row.get(i % 4)).copied().unwrap_or(0);
        let sum = a.wrapping_add(mixed).wrapping_add(constant(i)).wrapping_add(word);
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
    }
    let [a0, b0, c0, d0] = state;
    [a0.wrapping_add(a), b0.wrapping_add(b), c0.wrapping_add(c), d0.wrapping_add(d)]
}

/// The whole part of 2³² times the sine of `i + 1` (RFC 1321 §3.4).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below 2^32")]
fn constant(i: usize) -> u32 {
    (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32
}

/// The HMAC of `data` under `key`.
pub(super) fn hmac(key: &[u8], data: &[u8]) -> [u8; 16] {
    let mut block = [0; BLOCK];
    let hashed = md5(key);
    let short = if key.len() > BLOCK { &hashed[..] } else { key };
    for (to, from) in block.iter_mut().zip(short) {
        *to = *from;
    }
    let inner = md5(&[&block.map(|b| b ^ 0x36)[..], data].concat());
    md5(&[&block.map(|b| b ^ 0x5c)[..], &inner].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_adapter_sdk::signature::to_hex;

    #[test]
    fn the_published_vectors_hold() {
        // RFC 1321 §A.5.
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(to_hex(&md5(text.as_bytes())), digest, "{text}");
        }
        // RFC 2202 §2, cases 1, 2 and 6.
        assert_eq!(to_hex(&hmac(&[0x0b; 16], b"Hi There")), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(to_hex(&hmac(b"Jefe", b"what do ya want for nothing?")), "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(to_hex(&hmac(&[0xaa; 80], long)), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
