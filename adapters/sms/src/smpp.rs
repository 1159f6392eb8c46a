//! What SMPP centres say through the gateways before them: the text of a delivery receipt (SMPP 3.4, appendix B) and the status
//! of a `submit_sm` (§5.1.3).

use switchboard_adapter_sdk::classify::{Class, Row};
use switchboard_envelope::ReceiptStatus;

/// A receipt as its text tells it; centres leave fields out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiptText {
    pub id: Option<String>,
    /// `DELIVRD` and its like, in upper case.
    pub stat: Option<String>,
    /// The network's own code, which each centre writes as it likes.
    pub err: Option<String>,
}

/// Reads the text of a receipt. Only what stands before `text:` counts, for the message's own words can look like fields.
pub(crate) fn receipt_text(text: &str) -> ReceiptText {
    let lower = text.to_ascii_lowercase();
    let end = lower.find("text:").unwrap_or(text.len());
    let field = |name: &str| {
        let head = lower.get(..end)?;
        let starts = |at: &usize| *at == 0 || head.as_bytes().get(at - 1).is_some_and(u8::is_ascii_whitespace);
        let at = head.match_indices(name).map(|(at, _)| at).find(starts)?;
        let value = text.get(at + name.len()..end)?.split_ascii_whitespace().next()?;
        (value.len() <= 64 && value.bytes().all(|b| b.is_ascii_graphic())).then(|| value.to_owned())
    };
    ReceiptText { id: field("id:"), stat: field("stat:").map(|s| s.to_ascii_uppercase()), err: field("err:") }
}

/// How far a message is by the state that a receipt names; `None` where that says nothing.
pub(crate) fn status(stat: &str) -> Option<ReceiptStatus> {
    match stat {
        "DELIVRD" | "DELIVERED" => Some(ReceiptStatus::Delivered),
        "ACCEPTD" | "ACCEPTED" | "ENROUTE" | "BUFFERED" | "SCHEDULED" => Some(ReceiptStatus::Accepted),
        "EXPIRED" | "DELETED" | "UNDELIV" | "UNDELIVERABLE" | "REJECTD" | "REJECTED" | "SKIPPED" => {
            Some(ReceiptStatus::Failed)
        }
        _ => None,
    }
}

/// What a final state that is no delivery means to a person.
pub(crate) fn sentence(stat: &str) -> &'static str {
    match stat {
        "EXPIRED" => "the phone was not reached in time",
        "DELETED" => "the centre deleted the message",
        "REJECTD" | "REJECTED" => "the centre or the network rejected the message",
        _ => "the message could not be delivered",
    }
}

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

/// The statuses of a `submit_sm`, by their names.
pub(crate) const STATUSES: &[Row] = &[
    row("ESME_ROK", Class::Ok, "taken by the centre"),
    row("ESME_RTHROTTLED", Class::RateLimit, "the centre takes no more messages at this speed"),
    row("ESME_RMSGQFUL", Class::RateLimit, "the centre's queue for this account is full"),
    row("ESME_RSYSERR", Class::Retry, "the centre has a passing fault"),
    row("ESME_RSUBMITFAIL", Class::PermanentMessage, "the centre could not take the message"),
    row("ESME_RX_T_APPN", Class::Retry, "the centre has a passing fault"),
    row("ESME_RX_R_APPN", Class::PermanentMessage, "the centre rejects the message"),
    row("ESME_RX_P_APPN", Class::PermanentMessage, "the centre rejects the message for good"),
    row("ESME_RINVMSGLEN", Class::PermanentMessage, "the message is too long for the centre"),
    row("ESME_RINVDSTADR", Class::PermanentRecipient, "the centre does not know this number"),
    row("ESME_RINVDSTTON", Class::PermanentRecipient, "the centre does not take numbers of this form"),
    row("ESME_RINVDSTNPI", Class::PermanentRecipient, "the centre does not take numbers of this form"),
    row("ESME_RINVSRCADR", Class::Config, "the centre refuses our sender: check from"),
    row("ESME_RINVSRCTON", Class::Config, "the centre refuses senders of this form: check from"),
    row("ESME_RINVSRCNPI", Class::Config, "the centre refuses senders of this form: check from"),
    row("ESME_RBINDFAIL", Class::Config, "the gateway cannot log in at the centre"),
    row("ESME_RINVPASWD", Class::Config, "the centre refuses the gateway's password"),
    row("ESME_RINVSYSID", Class::Config, "the centre does not know the gateway's account"),
];

/// The same statuses by the numbers that gateways write.
const NUMBERS: [(u32, &str); 18] = [
    (0x00, "ESME_ROK"),
    (0x01, "ESME_RINVMSGLEN"),
    (0x08, "ESME_RSYSERR"),
    (0x0a, "ESME_RINVSRCADR"),
    (0x0b, "ESME_RINVDSTADR"),
    (0x0d, "ESME_RBINDFAIL"),
    (0x0e, "ESME_RINVPASWD"),
    (0x0f, "ESME_RINVSYSID"),
    (0x14, "ESME_RMSGQFUL"),
    (0x45, "ESME_RSUBMITFAIL"),
    (0x48, "ESME_RINVSRCTON"),
    (0x49, "ESME_RINVSRCNPI"),
    (0x50, "ESME_RINVDSTTON"),
    (0x51, "ESME_RINVDSTNPI"),
    (0x58, "ESME_RTHROTTLED"),
    (0x64, "ESME_RX_T_APPN"),
    (0x65, "ESME_RX_P_APPN"),
    (0x66, "ESME_RX_R_APPN"),
];

/// The row of a status by its number.
pub(crate) fn by_number(number: u32) -> Option<&'static Row> {
    let (_, name) = NUMBERS.iter().find(|(known, _)| *known == number)?;
    STATUSES.iter().find(|row| row.code == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn every_recorded_receipt_is_read() {
        let cases = fixtures::json("kannel/smpp-dlr-text.json");
        let cases = cases["cases"].as_array().unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let read = receipt_text(text);
            let wanted = &case["expected"];
            for (key, seen) in [("id", &read.id), ("stat", &read.stat), ("err", &read.err)] {
                if let Some(wanted) = wanted[key].as_str() {
                    assert_eq!(seen.as_deref(), Some(wanted), "{text}: {key}");
                }
            }
            let meaning = match status(read.stat.as_deref().unwrap_or_default()) {
                Some(ReceiptStatus::Delivered) => "delivered",
                Some(ReceiptStatus::Accepted) => "sent",
                Some(ReceiptStatus::Failed) => "failed",
                _ => "keep",
            };
            assert_eq!(meaning, wanted["meaning"], "{text}");
        }
    }

    #[test]
    fn a_field_is_one_of_its_own() {
        let read = receipt_text("grid:7 paid:8 id:9 STAT:delivrd");
        assert_eq!((read.id.as_deref(), read.stat.as_deref()), (Some("9"), Some("DELIVRD")));
        assert_eq!(receipt_text("text:id:1 stat:DELIVRD"), ReceiptText::default());
        assert_eq!(receipt_text(&format!("id:{}", "x".repeat(65))).id, None);
    }

    #[test]
    fn every_number_has_a_row_and_every_row_a_number() {
        for (number, name) in NUMBERS {
            assert_eq!(by_number(number).map(|row| row.code), Some(name));
        }
        for row in STATUSES {
            assert!(NUMBERS.iter().any(|(_, name)| *name == row.code), "{}", row.code);
            assert!(!row.sentence.ends_with('.'));
        }
        assert!(by_number(0x7777).is_none());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = receipt_text(&text);
        }

        #[test]
        fn nothing_behind_text_counts(text in "[a-zA-Z: 0-9]{0,60}") {
            let read = receipt_text(&format!("id:1 stat:ACCEPTD text:{text}"));
            prop_assert_eq!(read.stat.as_deref(), Some("ACCEPTD"));
        }
    }
}
