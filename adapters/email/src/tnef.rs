//! `winmail.dat` (MS-OXTNEF): the body and the files that Outlook wraps up when it believes that the other side is Outlook.

use crate::charset;

const SIGNATURE: u32 = 0x223e_9f78;
/// The most attributes and properties that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// The most bytes of a body.
const MAX_TEXT: usize = 1024 * 1024;
/// The most bytes of a name, and the most files.
const MAX_NAME: usize = 1000;
const MAX_FILES: usize = 1000;

const ATT_BODY: u32 = 0x0002_800c;
const ATT_ATTACH_DATA: u32 = 0x0006_800f;
const ATT_ATTACH_TITLE: u32 = 0x0001_8010;
const ATT_REND_DATA: u32 = 0x0006_9002;
const ATT_MAPI: u32 = 0x0006_9003;
const ATT_ATTACHMENT: u32 = 0x0006_9005;
const ATT_CODE_PAGE: u32 = 0x0006_9007;

const BODY: u16 = 0x1000;
const BODY_HTML: u16 = 0x1013;
const ATTACH_LONG_NAME: u16 = 0x3707;
const ATTACH_MIME: u16 = 0x370e;
const ATTACH_DATA: u16 = 0x3701;
const INTERNET_CODE_PAGE: u16 = 0x3fde;

/// What was inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    pub text: Option<String>,
    pub html: Option<String>,
    pub files: Vec<Attached>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    pub name: String,
    pub mime: Option<String>,
    pub bytes: Vec<u8>,
}

/// Reads the stream; `None` when it is none. A damaged end keeps what came before it.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Inside> {
    let mut input = Input(bytes);
    if input.u32()? != SIGNATURE {
        return None;
    }
    input.take(2)?;
    let mut found = Inside::default();
    let mut state = State::default();
    for _ in 0..MAX_ENTRIES {
        if state.attribute(&mut input, &mut found).is_none() {
            break;
        }
    }
    let decoded = |bytes: Vec<u8>| charset::decode(state.label().as_deref(), bytes.get(..MAX_TEXT).unwrap_or(&bytes));
    found.html = state.html.clone().map(decoded);
    found.text = found.text.take().or_else(|| state.text.clone().map(decoded));
    found.files.retain(|f| !f.bytes.is_empty());
    Some(found)
}

#[derive(Default)]
struct State {
    code_page: Option<u32>,
    internet_code_page: Option<u32>,
    text: Option<Vec<u8>>,
    html: Option<Vec<u8>>,
}

impl State {
    fn label(&self) -> Option<String> {
        self.internet_code_page.or(self.code_page).map(label)
    }

    fn attribute(&mut self, input: &mut Input<'_>, found: &mut Inside) -> Option<()> {
        let _level = input.take(1)?;
        let id = input.u32()?;
        let length = usize::try_from(input.u32()?).ok()?;
        let value = input.take(length)?;
        let _checksum = input.take(2)?;
        match id {
            ATT_CODE_PAGE => self.code_page = Input(value).u32(),
            ATT_BODY => self.text = Some(until_nul(value).to_vec()),
            ATT_REND_DATA if found.files.len() >= MAX_FILES => return None,
            ATT_REND_DATA => found.files.push(Attached::default()),
            ATT_ATTACH_TITLE => {
                let name = name(self.code_page, value);
                if let Some(file) = found.files.last_mut().filter(|f| f.name.is_empty()) {
                    file.name = name;
                }
            }
            ATT_ATTACH_DATA => {
                if let Some(file) = found.files.last_mut() {
                    file.bytes = value.to_vec();
                }
            }
            ATT_MAPI => {
                properties(value, |id, value| match (id, value) {
                    (BODY_HTML, Value::Bytes(b)) => self.html = Some(until_nul(b).to_vec()),
                    (BODY_HTML, Value::Text(t)) => {
                        self.html = Some(t.into_bytes());
                        self.internet_code_page = Some(65001);
                    }
                    (BODY, Value::Bytes(b)) => self.text = Some(until_nul(b).to_vec()),
                    (BODY, Value::Text(t)) => found.text = Some(t),
                    (INTERNET_CODE_PAGE, Value::Number(n)) => {
                        self.internet_code_page = self.internet_code_page.or(Some(n))
                    }
                    _ => {}
                });
            }
            ATT_ATTACHMENT => {
                let code_page = self.code_page;
                if let Some(file) = found.files.last_mut() {
                    properties(value, |id, value| match (id, value) {
                        (ATTACH_LONG_NAME, Value::Text(t)) => file.name = t,
                        (ATTACH_LONG_NAME, Value::Bytes(b)) => file.name = name(code_page, b),
                        (ATTACH_MIME, Value::Text(t)) => file.mime = Some(t),
                        (ATTACH_MIME, Value::Bytes(b)) => file.mime = Some(charset::unlabelled(until_nul(b))),
                        (ATTACH_DATA, Value::Bytes(b)) if file.bytes.is_empty() => file.bytes = b.to_vec(),
                        _ => {}
                    });
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// The label of a Windows code page.
fn label(page: u32) -> String {
    match page {
        65001 => "utf-8".into(),
        65000 => "utf-7".into(),
        20127 => "us-ascii".into(),
        20866 => "koi8-r".into(),
        21866 => "koi8-u".into(),
        932 => "shift_jis".into(),
        936 => "gbk".into(),
        949 => "euc-kr".into(),
        950 => "big5".into(),
        50220..=50222 => "iso-2022-jp".into(),
        51932 => "euc-jp".into(),
        54936 => "gb18030".into(),
        28591..=28606 => format!("iso-8859-{}", page - 28590),
        other => format!("windows-{other}"),
    }
}

fn name(code_page: Option<u32>, value: &[u8]) -> String {
    let name = until_nul(value);
    charset::decode(code_page.map(label).as_deref(), name.get(..MAX_NAME).unwrap_or(name))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

enum Value<'a> {
    Number(u32),
    Bytes(&'a [u8]),
    Text(String),
}

fn properties(bytes: &[u8], mut seen: impl FnMut(u16, Value<'_>)) -> Option<()> {
    let mut input = Input(bytes);
    let count = input.u32()?;
    for _ in 0..count.min(1000) {
        let kind = input.u16()?;
        let id = input.u16()?;
        if id >= 0x8000 {
            // A named property: its name comes first.
            input.take(16)?;
            if input.u32()? == 0 {
                input.take(4)?;
            } else {
                let length = usize::try_from(input.u32()?).ok()?;
                input.padded(length)?;
            }
        }
        let many = kind & 0x1000 != 0;
        let kind = kind & 0x0fff;
        let sized = matches!(kind, 0x000d | 0x001e | 0x001f | 0x0102);
        let values = if many || sized { input.u32()? } else { 1 };
        for _ in 0..values.min(1000) {
            if !sized {
                let width = match kind {
                    0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => 4,
                    0x0005 | 0x0006 | 0x0007 | 0x0014 | 0x0040 => 8,
                    0x0048 => 16,
                    _ => return None,
                };
                let value = input.take(width)?;
                if kind == 0x0003 {
                    seen(id, Value::Number(Input(value).u32()?));
                }
                continue;
            }
            let length = usize::try_from(input.u32()?).ok()?;
            let value = input.padded(length)?;
            if kind == 0x001f {
                let units = value.chunks_exact(2).filter_map(|c| Input(c).u16()).take_while(|u| *u != 0);
                let units: Vec<u16> = units.take(MAX_TEXT).collect();
                seen(id, Value::Text(String::from_utf16_lossy(&units)));
            } else {
                seen(id, Value::Bytes(value));
            }
        }
    }
    Some(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// Values are filled up to four bytes.
    fn padded(&mut self, count: usize) -> Option<&'a [u8]> {
        let value = self.take(count)?;
        self.take(count.wrapping_neg() & 3)?;
        Some(value)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(id: u32, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap();
        [&[1][..], &id.to_le_bytes(), &length.to_le_bytes(), value, &[0, 0]].concat()
    }

    fn property(id: u16, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap();
        let padding = vec![0; value.len().wrapping_neg() & 3];
        [&kind.to_le_bytes()[..], &id.to_le_bytes(), &1u32.to_le_bytes(), &length.to_le_bytes(), value, &padding]
            .concat()
    }

    fn stream() -> Vec<u8> {
        let number = [&3u16.to_le_bytes()[..], &INTERNET_CODE_PAGE.to_le_bytes(), &20866u32.to_le_bytes()].concat();
        let name: Vec<u8> = "жук.pdf\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let body =
            [&2u32.to_le_bytes()[..], &number, &property(BODY_HTML, 0x0102, b"<b>\xfb\xc5\xd3\xd4\xc9\xca</b>\0")]
                .concat();
        let file = [&1u32.to_le_bytes()[..], &property(ATTACH_LONG_NAME, 0x001f, &name)].concat();
        [
            &SIGNATURE.to_le_bytes()[..],
            &[1, 0],
            &attribute(ATT_CODE_PAGE, &1251u32.to_le_bytes()),
            &attribute(ATT_MAPI, &body),
            &attribute(ATT_REND_DATA, &[0; 14]),
            &attribute(ATT_ATTACH_TITLE, b"A~1.PDF\0"),
            &attribute(ATT_ATTACH_DATA, b"%PDF"),
            &attribute(ATT_ATTACHMENT, &file),
        ]
        .concat()
    }

    #[test]
    fn the_body_and_the_files_come_out() {
        let inside = read(&stream()).unwrap();
        assert_eq!(inside.html.as_deref(), Some("<b>Шестий</b>"));
        assert_eq!(inside.files, [Attached { name: "жук.pdf".into(), mime: None, bytes: b"%PDF".to_vec() }]);
        assert_eq!(read(b"PK\x03\x04 a zip"), None);
    }

    proptest! {
        #[test]
        fn a_damaged_stream_is_read_as_far_as_it_goes(cut in 0usize..300, at in 0usize..300, bit in 0u8..8) {
            let mut bytes = stream();
            let length = bytes.len();
            bytes[at % length] ^= 1 << bit;
            bytes.truncate(cut.min(length));
            let _ = read(&bytes);
        }
    }
}
