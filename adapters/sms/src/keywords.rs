//! The words by which people opt out of text messages and back in, as carriers and providers fix them.

/// What a message that is nothing but a keyword asks for, with the word as the tables write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Stop(&'static str),
    Start(&'static str),
    /// `YES`, an opt-in only for a person who has opted out; to anyone else it is an answer like others.
    Yes,
    Help(&'static str),
}

const STOP: [&str; 8] = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const START: [&str; 2] = ["START", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];

/// The keyword that a text is. Only the whole text counts, in any case and with blanks around it: "please stop by" says
/// nothing about consent.
#[must_use]
pub fn read(text: &str) -> Option<Keyword> {
    let word = text.trim();
    let among = |table: &[&'static str]| table.iter().copied().find(|known| known.eq_ignore_ascii_case(word));
    among(&STOP)
        .map(Keyword::Stop)
        .or_else(|| among(&START).map(Keyword::Start))
        .or_else(|| among(&HELP).map(Keyword::Help))
        .or_else(|| word.eq_ignore_ascii_case("YES").then_some(Keyword::Yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_counts_alone_and_none_inside_a_sentence() {
        for word in STOP {
            assert_eq!(read(&format!("  {}\r\n", word.to_lowercase())), Some(Keyword::Stop(word)));
            assert_eq!(read(&format!("please {word} sending")), None);
            assert_eq!(read(&format!("{word}!")), None);
        }
        for word in START {
            assert_eq!(read(word), Some(Keyword::Start(word)));
        }
        for word in HELP {
            assert_eq!(read(&word.to_lowercase()), Some(Keyword::Help(word)));
        }
        assert_eq!(read("Yes"), Some(Keyword::Yes));
        assert_eq!(read("yes please"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("stoр"), None, "with a Cyrillic letter it is another word");
    }
}
