//! Names of files that strangers chose, made safe for any disk.

/// The longest name, in characters.
const MAX: usize = 150;

/// A name without a path, control characters or a meaning of its own. An empty one is named by its place and type.
#[must_use]
pub fn safe(name: &str, number: usize, mime: &str) -> String {
    // Both slashes: the sender's system may be another than ours.
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base
        .chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .map(|c| if matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { c })
        .collect();
    let clean = clean.trim().trim_start_matches('.').trim_end_matches(['.', ' ']);
    if clean.is_empty() {
        return format!("file-{number}{}", extension(mime));
    }
    let stem = clean.split('.').next().unwrap_or(clean).to_ascii_uppercase();
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit()));
    let clean = if device { format!("_{clean}") } else { clean.to_owned() };
    shorten(&clean)
}

/// Characters that turn `exe.txt` around, or hide.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= MAX {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.chars().count() <= 10 => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let room = MAX - extension.chars().count();
    stem.chars().take(room).collect::<String>() + &extension
}

fn extension(mime: &str) -> &'static str {
    match mime {
        "message/rfc822" | "message/global" => ".eml",
        "text/plain" => ".txt",
        "text/html" => ".html",
        "text/calendar" | "application/ics" => ".ics",
        "image/jpeg" => ".jpg",
        "image/png" => ".png",
        "image/gif" => ".gif",
        "application/pdf" => ".pdf",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_safe_and_stay_recognisable() {
        for (name, shown) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ann\\a b.doc", "a b.doc"),
            ("..", "file-3.png"),
            ("", "file-3.png"),
            ("nul.txt", "_nul.txt"),
            ("com1", "_com1"),
            ("gpj.\u{202e}exe.png", "gpj.exe.png"),
            ("a\0b\r\n.txt", "ab.txt"),
            ("日本語.pdf", "日本語.pdf"),
            ("a:b?.txt", "a_b_.txt"),
        ] {
            assert_eq!(safe(name, 3, "image/png"), shown, "{name:?}");
        }
        let long = safe(&("x".repeat(400) + ".pdf"), 1, "");
        assert!(long.chars().count() == MAX && long.ends_with("x.pdf"));
    }

    proptest! {
        #[test]
        fn any_name_is_one_safe_component(name in "(\\PC|/|\\\\|\\.|\u{0}|\n){0,300}") {
            let safe = safe(&name, 1, "");
            prop_assert!(!safe.is_empty() && safe.chars().count() <= MAX + 1);
            prop_assert!(!safe.contains(['/', '\\', '\0', '\n']) && !safe.starts_with('.'));
        }
    }
}
