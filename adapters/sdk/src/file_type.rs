//! What a file is, by its bytes. What its sender says of it counts only where the bytes leave room.

/// The beginnings of files; `ftyp` is the common one of a family, so it comes after its members.
const MAGIC: &[(&[u8], usize, &str)] = &[
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF87a", 0, "image/gif"),
    (b"GIF89a", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"ftypheic", 4, "image/heic"),
    (b"ftypmif1", 4, "image/heic"),
    (b"ftypavif", 4, "image/avif"),
    (b"%PDF-", 0, "application/pdf"),
    (b"ftyp3g", 4, "video/3gpp"),
    (b"ftypM4A", 4, "audio/mp4"),
    (b"ftypqt", 4, "video/quicktime"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "video/webm"),
    (b"#!AMR", 0, "audio/amr"),
    (b"OggS", 0, "audio/ogg"),
    (b"ID3", 0, "audio/mpeg"),
    (b"WAVE", 8, "audio/wav"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "application/x-ole-storage"),
    (b"PK\x03\x04", 0, "application/zip"),
];

/// Families in which the bytes of one member look like those of another: what was declared is believed among these.
const ALIKE: &[&[&str]] = &[
    &["video/mp4", "audio/mp4", "video/3gpp", "audio/3gpp", "video/quicktime"],
    &["video/webm", "audio/webm"],
    &["audio/ogg", "video/ogg"],
    &["text/plain", "text/vcard", "text/x-vcard", "text/calendar", "text/csv"],
    &[
        "application/zip",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ],
    &["application/x-ole-storage", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"],
];

/// The media type that the bytes show; `None` when they show none that is known.
#[must_use]
pub fn of(bytes: &[u8]) -> Option<&'static str> {
    let magic = MAGIC.iter().find(|(magic, at, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    magic.map(|(_, _, mime)| *mime).or_else(|| is_text(bytes).then_some("text/plain"))
}

/// The media type of a file that somebody declared to be `declared`: what the bytes show, or `application/octet-stream`.
#[must_use]
pub fn with_declared(bytes: &[u8], declared: &str) -> &'static str {
    let Some(shown) = of(bytes) else { return "application/octet-stream" };
    let said = declared.split(';').next().unwrap_or_default().trim();
    let family = ALIKE.iter().find(|family| family.contains(&shown));
    family.and_then(|f| f.iter().find(|m| m.eq_ignore_ascii_case(said))).copied().unwrap_or(shown)
}

/// UTF-8 without control characters that no text has, and no markup that a browser could be talked into running.
fn is_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let start = text.trim_start_matches('\u{feff}').trim_start();
    !start.starts_with('<') && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_decide_and_the_declaration_only_among_those_that_look_alike() {
        let mp4 = b"\0\0\0\x18ftypmp42\0\0\0\0";
        for (bytes, declared, kind) in [
            (&b"\xff\xd8\xff\xe0"[..], "image/jpeg", "image/jpeg"),
            (b"\xff\xd8\xff\xe0", "text/html", "image/jpeg"),
            (b"<script>alert(1)</script>", "image/jpeg", "application/octet-stream"),
            (b"<svg xmlns=", "image/svg+xml", "application/octet-stream"),
            (b"BEGIN:VCARD\nFN:Ann", "text/vCard; charset=utf-8", "text/vcard"),
            (b"hello", "text/html", "text/plain"),
            (mp4, "audio/mp4", "audio/mp4"),
            (mp4, "image/png", "video/mp4"),
            (b"#!AMR\n\x3c", "audio/amr", "audio/amr"),
            (b"\x7fELF\x02", "application/pdf", "application/octet-stream"),
        ] {
            assert_eq!(with_declared(bytes, declared), kind, "{declared}");
        }
        assert_eq!(of(b""), Some("text/plain"), "emptiness is the caller's to refuse");
        assert_eq!(of(b"PK"), Some("text/plain"));
        assert_eq!(of(&[0; 3]), None);
    }
}
