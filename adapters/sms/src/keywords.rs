//! The words by which people opt out of text messages and back in, as carriers and providers fix them, and those that an
//! operator adds.

/// What a message that is nothing but a keyword asks for, with the word as the tables write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword<'a> {
    Stop(&'a str),
    Start(&'a str),
    /// `YES`, an opt-in only for a person who has opted out; to anyone else it is an answer like others.
    Yes,
    Help(&'a str),
}

const STOP: [&str; 8] = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const START: [&str; 2] = ["START", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];

/// The keyword that a text is. Only the whole text counts, in any case and with blanks around it: "please stop by" says
/// nothing about consent.
#[must_use]
pub fn read(text: &str) -> Option<Keyword<'static>> {
    let word = text.trim();
    let among = |table: &[&'static str]| table.iter().copied().find(|known| known.eq_ignore_ascii_case(word));
    among(&STOP)
        .map(Keyword::Stop)
        .or_else(|| among(&START).map(Keyword::Start))
        .or_else(|| among(&HELP).map(Keyword::Help))
        .or_else(|| word.eq_ignore_ascii_case("YES").then_some(Keyword::Yes))
}

/// A word as it is compared: without its case, in any script.
#[must_use]
pub fn folded(word: &str) -> String {
    word.trim().to_lowercase()
}

/// The words of a channel beside the fixed ones.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub help: Vec<String>,
}

impl Words {
    /// As [`read`], with the channel's own words.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Keyword<'_>> {
        // No keyword is longer, and texts can be.
        if text.len() > 512 {
            return None;
        }
        let word = folded(text);
        let among = |table: &'_ [String]| table.iter().position(|known| folded(known) == word);
        let own = |table| among(table).and_then(|i| table.get(i)).map(String::as_str);
        read(text)
            .or_else(|| own(&self.stop).map(Keyword::Stop))
            .or_else(|| own(&self.start).map(Keyword::Start))
            .or_else(|| own(&self.help).map(Keyword::Help))
    }
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

    #[test]
    fn a_channels_own_words_count_in_any_case_and_script() {
        let words = Words {
            stop: vec!["Arrêt".into(), "СТОП".into()],
            start: vec!["reprendre".into()],
            help: vec!["Aide".into()],
        };
        assert_eq!(words.read(" ARRÊT\n"), Some(Keyword::Stop("Arrêt")));
        assert_eq!(words.read("стоп"), Some(Keyword::Stop("СТОП")));
        assert_eq!(words.read("Reprendre"), Some(Keyword::Start("reprendre")));
        assert_eq!(words.read("aide"), Some(Keyword::Help("Aide")));
        assert_eq!(words.read("STOP"), Some(Keyword::Stop("STOP")));
        assert_eq!(words.read("arrêt de bus ?"), None);
        assert_eq!(words.read(&"x".repeat(600)), None);
    }
}
