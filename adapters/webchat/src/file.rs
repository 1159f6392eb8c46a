use crate::{TokenKey, Visitor, keyed};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use switchboard_adapter_sdk::file_type;
use switchboard_envelope::{Attachment, BlobRef};
use thiserror::Error;

/// The longest name of a file, in characters.
pub const MAX_FILE_NAME: usize = 120;

/// A stored file as its uploader may name it in a message. We signed it, so a browser can neither invent a reference, nor
/// take another visitor's, nor rename what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFile {
    #[serde(rename = "ref")]
    pub blob: String,
    pub name: String,
    pub mime: String,
    pub size: u64,
    pub sig: String,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FileRefused {
    #[error("the file is empty")]
    Empty,
    #[error("files of this kind are not accepted: send an image, a PDF, a text, an office document or an archive")]
    Kind,
}

/// What a ZIP container may call itself by its name.
const ZIPPED: &[(&str, &str)] = &[
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
];

/// Names that run something when they are opened, whatever their bytes look like.
const DANGEROUS: &[&str] = &[
    "exe", "com", "bat", "cmd", "scr", "msi", "ps1", "vbs", "vbe", "js", "jse", "mjs", "wsf", "hta", "jar", "lnk",
    "reg", "html", "htm", "xhtml", "svg", "xml", "xsl", "php", "sh", "app", "apk", "dll", "cpl", "iso", "img", "docm",
    "xlsm", "pptm", "url", "chm",
];

/// Decides by the bytes what a file is, and how it will be called. What the browser says of it counts for nothing.
///
/// # Errors
/// When it is empty, or of a kind that is not on the list.
pub fn check_upload(name: &str, bytes: &[u8]) -> Result<(String, &'static str), FileRefused> {
    if bytes.is_empty() {
        return Err(FileRefused::Empty);
    }
    let name = clean_name(name);
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    if DANGEROUS.contains(&extension.as_str()) {
        return Err(FileRefused::Kind);
    }
    let mime = match file_type::of(bytes) {
        Some("application/zip") => {
            ZIPPED.iter().find(|(e, _)| *e == extension).map_or("application/zip", |(_, mime)| *mime)
        }
        Some(mime) => mime,
        None => return Err(FileRefused::Kind),
    };
    Ok((name, mime))
}

/// The last segment of a path, without what a file system or a header line could trip over.
fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let cleaned: String = last
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect();
    let cleaned = cleaned.trim().trim_matches('.');
    let count = cleaned.chars().count();
    // The end is kept: it says what the file is.
    let kept: String = cleaned.chars().skip(count.saturating_sub(MAX_FILE_NAME)).collect();
    if kept.is_empty() { "file".into() } else { kept }
}

fn fields<'a>(channel: &'a str, visitor: &'a Visitor, file: &'a SignedFile, size: &'a [u8]) -> [&'a [u8]; 7] {
    [
        b"file-1",
        channel.as_bytes(),
        visitor.as_str().as_bytes(),
        file.blob.as_bytes(),
        file.name.as_bytes(),
        file.mime.as_bytes(),
        size,
    ]
}

/// Signs a stored file for its uploader.
#[must_use]
pub fn sign_file(key: &TokenKey, channel: &str, visitor: &Visitor, file: &Attachment) -> SignedFile {
    let blob = file.blob.as_ref().map(|b| b.0.clone()).unwrap_or_default();
    let mut signed =
        SignedFile { blob, name: file.name.clone(), mime: file.mime.clone(), size: file.size, sig: String::new() };
    let tag = keyed::mac(key.key(), &fields(channel, visitor, &signed, &signed.size.to_be_bytes()));
    signed.sig = URL_SAFE_NO_PAD.encode(tag);
    signed
}

/// The attachment, if we signed it for this visitor on this channel.
#[must_use]
pub fn verify_file(key: &TokenKey, channel: &str, visitor: &Visitor, file: &SignedFile) -> Option<Attachment> {
    let tag = URL_SAFE_NO_PAD.decode(&file.sig).ok()?;
    keyed::verify(key.key(), &fields(channel, visitor, file, &file.size.to_be_bytes()), &tag).then(|| Attachment {
        name: file.name.clone(),
        mime: file.mime.clone(),
        size: file.size,
        blob: Some(BlobRef(file.blob.clone())),
        ..Attachment::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_decide_and_not_the_name() {
        let png = b"\x89PNG\r\n\x1a\n....";
        assert_eq!(check_upload("box.png", png), Ok(("box.png".into(), "image/png")));
        assert_eq!(check_upload("box.pdf", png), Ok(("box.pdf".into(), "image/png")));
        assert_eq!(check_upload("a.txt", "Grüße\n".as_bytes()), Ok(("a.txt".into(), "text/plain")));
        assert_eq!(check_upload("a.zip", b"PK\x03\x04rest"), Ok(("a.zip".into(), "application/zip")));
        let docx = check_upload("a.DOCX", b"PK\x03\x04rest").unwrap().1;
        assert!(docx.ends_with("wordprocessingml.document"), "{docx}");
    }

    #[test]
    fn what_a_browser_or_a_shell_would_run_is_refused() {
        for (name, bytes) in [
            ("a.exe", &b"MZ\x90\x00"[..]),
            ("a.txt", b"MZ\x90\x00"),
            ("a.svg", b"<svg onload=alert(1)>"),
            ("a.txt", b"  <script>alert(1)</script>"),
            ("a.html", b"hello"),
            ("a.js", b"alert(1)"),
            ("a.txt", b"\xff\xfe\x00"),
            ("run.sh", b"rm -rf"),
            ("photo.png.exe", b"\x89PNG\r\n\x1a\n"),
        ] {
            assert_eq!(check_upload(name, bytes), Err(FileRefused::Kind), "{name}");
        }
        assert_eq!(check_upload("a.png", b""), Err(FileRefused::Empty));
    }

    #[test]
    fn names_lose_paths_and_tricks() {
        for (name, clean) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ann\\box.png", "box.png"),
            ("a\"\r\nSet-Cookie: x.png", "aSet-Cookie x.png"),
            ("photo\u{202e}gnp.txt", "photognp.txt"),
            ("", "file"),
            ("...", "file"),
        ] {
            assert_eq!(check_upload(name, b"hello").unwrap().0, clean, "{name}");
        }
        let long = check_upload(&format!("{}.txt", "é".repeat(500)), b"hello").unwrap().0;
        assert!(long.chars().count() == MAX_FILE_NAME && long.ends_with(".txt"));
    }

    #[test]
    fn a_reference_serves_only_its_uploader() {
        let key = TokenKey::new(&[1; 32]);
        let (ann, bob) = (Visitor::anonymous([1; 16]), Visitor::anonymous([2; 16]));
        let file = Attachment {
            name: "a.png".into(),
            mime: "image/png".into(),
            size: 5,
            blob: Some(BlobRef("blob:sha256:00".into())),
            url: None,
            problem: None,
            thread: None,
            content_id: None,
        };
        let signed = sign_file(&key, "site", &ann, &file);
        assert_eq!(verify_file(&key, "site", &ann, &signed), Some(file));
        assert_eq!(verify_file(&key, "site", &bob, &signed), None);
        assert_eq!(verify_file(&key, "other", &ann, &signed), None);
        for change in [
            |f: &mut SignedFile| f.blob.push('1'),
            |f: &mut SignedFile| f.name = "a.exe".into(),
            |f: &mut SignedFile| f.mime = "text/html".into(),
            |f: &mut SignedFile| f.size = 6,
            |f: &mut SignedFile| f.sig = "!".into(),
        ] {
            let mut forged = signed.clone();
            change(&mut forged);
            assert_eq!(verify_file(&key, "site", &ann, &forged), None, "{forged:?}");
        }
    }

    proptest! {
        #[test]
        fn looking_at_a_file_is_total(name in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((name, _)) = check_upload(&name, &bytes) {
                prop_assert!(!name.is_empty() && name.chars().count() <= MAX_FILE_NAME);
                prop_assert!(!name.contains(['/', '\\', '"', '\r', '\n']));
            }
        }
    }
}
