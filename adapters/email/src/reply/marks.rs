//! The lines with which mail programs begin what they quote, in the languages that they speak.

use regex::{Regex, RegexSet};
use std::sync::LazyLock;

/// The line that outgoing mail carries above its quote; the safest of all places to cut.
pub const ABOVE: &str = "##- Please write above this line -##";

/// A program's sentence above a quote. `^` and `$` are added; case is ignored, the caller bounds the line's length.
const ATTRIBUTIONS: &[&str] = &[
    // English, and programs that speak it everywhere.
    r"on\b.+\bwrote\s*[:：]?",
    r"on\b.*\d.*\b(?:sent|said|says|writes)\s*:",
    r"in message .+\bwrites\s*:",
    r"-+ *on\b.+\bwrote *-+",
    r"-{2,} *\S.* wrote *-{2,}",
    r"posted by .+ on \d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}",
    r"at .+\bwrote\s*:",
    r"[^,.!?]*\S+@\S+[^,.!?]* wrote\s*:",
    r"\S.* \(?<?\S+@\S+>?\)? wrote\s*:",
    r"\S.*<\S+@\S+> wrote on .*\d.*:",
    r"\S.* via \S.* wrote\s*:?",
    // A date in front: Gmail in languages that have no sentence of their own, Android.
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2},? \d{1,2}:\d{2}.*<\s*\S+@\S+\s*>\s*[:：]?",
    r"\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{2} (?:GMT|UTC)[+-]\d{1,2}:\d{2} .+",
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2},? \S.*<\s*\S+@\S+\s*>\s*[:：]?",
    // A date, a time and an address, whatever the words between them: Gmail, Yandex, Mail.ru.
    r".*\b(?:19|20)\d{2}\b.*\d{1,2}[:.]\d{2}.*<\s*[^@<>\s]+@[^@<>\s]+\s*>\s*[:：]",
    // German
    r"am .+\bschrieb\b.*:",
    r".*\d.*\bschrieb\b.*:",
    r"\S.*\bschrieb am\b.*\d.*:",
    r"\S.*<\S+@\S+> schrieb\s*:",
    r"am .*\d.*\b(?:schrieben sie|geschrieben)\s*:",
    // French
    r"le .+\b(?:a écrit|nous a dit)\s*:?",
    r".*\d.*\ba écrit\s*:",
    // Spanish, Portuguese, Catalan, Galician
    r"el .+\bescribi[óo]\s*:?",
    r"(?:em|a|no dia) .+\bescreveu\s*:?",
    r"el .+\bva escriure\s*:?",
    // Italian
    r"il .+\bha scritto\s*:?",
    // Dutch
    r"op .+\b(?:schreef|heeft .*geschreven|het volgende geschreven)\b.*:?",
    // Swedish, Danish, Norwegian, Finnish, Icelandic
    r"(?:den|på|fre|man|tir|tirs|ons|tor|tors|lør|søn|mån|tis|lör|sön)\b.+\bskrev\b.*:?",
    r".+\bkirjoitti\b.*:?",
    // Polish, Czech, Slovak, Slovenian, Croatian
    r"(?:w dniu|dnia|\w{2,4}\.,) .+\b(?:napisał(?:a|\(a\))?|pisze)\b?.*:",
    r".*\b(?:19|20)\d{2}\b.*\bnapisał(?:a|\(a\))?\s*:",
    r"(?:dne|dňa|v|on|st|po|út|čt|pá|so|ne|ut|št|pi) .+\b(?:napsal(?:a|\(a\))?|napísal(?:a|\(a\))?)\b?.*:",
    r".*\d.*\b(?:je napisa[ol](?:/la|\(a\))?|napisao je|piše)\b?.*:",
    // Russian, Ukrainian, Belarusian, Bulgarian, Serbian
    r".*\d.*(?:написал(?:а|\(а\)|/а)?|пишет|пише|написав|написала|писал(?:а)?|написа|напісаў).*:?",
    // Hungarian, Romanian, Turkish, Greek, Vietnamese, Indonesian
    r".*\d.*\b(?:ezt írta|írta)\b.*:",
    r".*\d.*\ba scris\b.*:",
    r".*\d.*\b(?:tarihinde|şunu yazdı|yazdı)\b.*:",
    r".*\d.*έγραψε.*:",
    r"(?:vào|lúc) .+đã viết\s*:?",
    r"pada .+\bmenulis\s*:?",
    // Hebrew, Arabic
    r".*\d.*(?:כתב|כתבה|‏כתב/ה).*:",
    r".*\d.*(?:كتب|كتبت).*[:：]",
    // Chinese, Japanese, Korean
    r".*\d.*(?:写道|寫道|写到|來信)\s*[:：]?",
    r"\d{4}年\d{1,2}月\d{1,2}日.+[:：]",
    r".*\d.*(?:さんは書きました|のメッセージ|が書きました)\s*[:：]?",
    r"\d{4}년 .+(?:작성|님이).*[:：]?",
];

/// Between dashes, or alone with a colon.
const ORIGINALS: &str = "original message|original appointment|reply message|antwort nachricht|ursprüngliche nachricht|ursprungliche nachricht|\
    originalnachricht|message d'origine|message d’origine|message original|mensaje original|mensagem original|messaggio originale|\
    messaggio originale|oorspronkelijk bericht|origineel bericht|ursprungligt meddelande|originalmeddelande|opprinnelig melding|\
    oprindelig meddelelse|alkuperäinen viesti|wiadomość oryginalna|oryginalna wiadomość|původní zpráva|pôvodná správa|\
    eredeti üzenet|mesaj original|özgün ileti|orijinal mesaj|αρχικό μήνυμα|исходное сообщение|оригинал сообщения|\
    вихідне повідомлення|оригінальне повідомлення|原始邮件|原始郵件|原邮件|元のメッセージ|원본 메일|원본 메시지|original-nachricht";

const FORWARDS: &str = "forwarded message|forwarded by [^-]+|weitergeleitete nachricht|message transféré|message transmis|mensaje reenviado|\
    mensagem encaminhada|messaggio inoltrato|doorgestuurd bericht|vidarebefordrat meddelande|vidarebefordrat brev|videresendt melding|\
    videresendt besked|videresendt meddelelse|välitetty viesti|wiadomość przekazana dalej|przekazana wiadomość|přeposlaná zpráva|\
    preposlaná správa|továbbított üzenet|mesaj redirecționat|iletilen mesaj|yönlendirilmiş ileti|προωθημένο μήνυμα|\
    пересылаемое сообщение|пересланное сообщение|переслане повідомлення|转发邮件|转发的邮件|轉寄郵件|转发信息|転送メッセージ|전달된 메일";

const BEGINS: &str = "begin forwarded message|anfang der weitergeleiteten (?:nachricht|e-mail)|début du message (?:transféré|réexpédié)|\
    inizio (?:del )?messaggio inoltrato|inicio del mensaje reenviado|início da mensagem (?:reencaminhada|encaminhada)|\
    begin doorgestuurd bericht|vidarebefordrat brev|videresendt (?:brev|besked|melding)|starten på videresendt (?:e-post|besked)|\
    początek przekazanej wiadomości|начало переадресованного (?:сообщения|письма)|välitetty viesti alkaa|以下是转发的邮件|\
    forwarded message ?:|vidarebefordrat meddelande ?:|doorgestuurd bericht ?:|weitergeleitete nachricht ?:|message transféré ?:|\
    début du message réexpédié|下面是被转发的邮件|以下は転送されたメッセージです";

/// What a phone or a program adds below a text.
const DEVICES: &str = r"(?:sent|posted) (?:from|by|via|with|using) .+|get \[?outlook for (?:ios|android).*|\
    .*from (?:my|a) (?:iphone|ipad|ipod|mobile|blackberry|android|samsung|phone|cell)\b.*|.+ from mobile|\
    (?:envoyé|expédié) (?:de|depuis|à partir d[e']|avec) .+|télécharge[rz]? outlook pour .+|\
    von meinem .+ gesendet.*|gesendet (?:von|mit|über) .+|diese nachricht wurde von .+ gesendet.*|holen sie sich outlook .+|\
    enviado (?:desde|do|de|por|a partir d[eo]) .+|obtener outlook para .+|inviato da(?:l|lla)? .+|ottieni outlook per .+|\
    (?:verzonden|verstuurd) (?:vanaf|vanuit|met|via) .+|skickat från .+|skickades från .+|sendt fra .+|lähetetty .+|\
    wysłan[eoy] z .+|odesláno z .+|отправлено (?:с|из|от|через) .+|надіслано з .+|küldve .+|\
    trimis de pe .+|.+ gönderildi|στάλθηκε από .+|发自我的.+|從我的 .+ 傳送|iphoneから送信|.+에서 보냄";

/// Names of the fields above a quoted mail: who wrote it.
const FROM: &str = "from|von|de|da|van|från|fra|od|от|от кого|від|lähettäjä|kimden|gönderen|feladó|mittente|expéditeur|remitente|remetente|\
    afzender|de la|από|发件人|寄件者|寄件人|差出人|送信者|보낸 사람|보낸사람|מאת|من";

/// The others.
const FIELDS: &str = "sent|date|to|subject|cc|bcc|sujet|pour|destinataire|responder a|svar till|svara till|svar til|\
    beantwoorden - aan|antwoord aan|odpowiedz do|odpověď|vastausosoite|yanıtla|reply-to|reply to|importance|attachments|organization|sent at|\
    gesendet|datum|an|betreff|kopie|antwort an|envoyé|envoyé le|à|objet|copie à|répondre à|data|a|oggetto|inviato|risposta|rispondi a|per|\
    verzonden|aan|onderwerp|skickat|till|ämne|kopia|sendt|dato|til|emne|kopi|enviado|enviado el|enviada em|enviado em|fecha|para|asunto|assunto|\
    wysłano|data|do|dw|temat|отправлено|дата|кому|копия|тема|надіслано|копія|кому|odesláno|komu|předmět|predmet|odoslané|\
    lähetetty|vastaanottaja|aihe|päivämäärä|päiväys|kopio|gönderilen|gönderme tarihi|gönderildi|tarih|kime|konu|elküldve|dátum|címzett|tárgy|\
    trimis|către|subiect|ημερομηνία|προς|θέμα|στάλθηκε|发送时间|发送日期|日期|收件人|抄送|主题|主旨|傳送時間|收件者|副本|送信日時|日時|日付|宛先|件名|보낸 날짜|받는 사람|제목|נשלח|אל|נושא|تاريخ|إلى|الموضوع";

/// Where a program's sentence begins that shares its line with what the person wrote before it.
const SHARED: &str = r"(?:\s|-)-*\s*on (?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|\d{1,2}[ ./-]|\d{4}-)\S*\s";

/// A year and a time of day.
const MOMENT: &str = r"\b(?:19|20)\d{2}\b.*\b\d{1,2}[:.]\d{2}\b";

/// A link that a program put into a quote, on a line of its own.
const LINK: &str = r"^\s*[(<]?https?://\S+[)>]?\s*>?\s*$";

fn whole(pattern: &str) -> String {
    format!("(?is)^(?:{pattern})$")
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test builds every one")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test builds every one")]
static ATTRIBUTION: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(ATTRIBUTIONS.iter().map(|p| whole(p))).expect("constant patterns"));
static ORIGINAL: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(
        "(?i)^[-_=*\\s]*(?:-{{2,}}|_{{2,}}|\\*-+)[\\s*]*(?:{})[\\s*:]*(?:-{{2,}}|_{{2,}})?[-_=*\\s]*$",
        flat(ORIGINALS)
    ))
});
static FORWARD: LazyLock<Regex> = LazyLock::new(|| {
    let (forwards, begins) = (flat(FORWARDS), flat(BEGINS));
    regex(&format!("(?i)^[>\\s*]*(?:-{{2,}}\\s*(?:{forwards})\\s*:?\\s*-{{0,}}|(?:{begins})\\s*[:：]?)[\\s*]*$"))
});
static DEVICE: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!("(?i)^[-—\\s*_<(]*(?:{})[\\s*_.>)]*$", flat(DEVICES))));
static FROM_FIELD: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!("(?i)^[\\s*|>]*(?:{})[\\s*]*[:：][\\s*]*\\S", flat(FROM))));
static ANY_FIELD: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!("(?i)^[\\s*|>]*(?:{}|{})[\\s*]*[:：](?:[\\s*]|$)", flat(FROM), flat(FIELDS))));

static SHARED_LINE: LazyLock<Regex> = LazyLock::new(|| regex(&format!("(?i){SHARED}")));
static MOMENTS: LazyLock<Regex> = LazyLock::new(|| regex(MOMENT));
static LINKS: LazyLock<Regex> = LazyLock::new(|| regex(&format!("(?i){LINK}")));

/// Alternatives without the breaks of this file.
fn flat(table: &str) -> String {
    table.split('|').map(|a| a.trim_start_matches("\\\n").trim_start()).collect::<Vec<_>>().join("|")
}

/// A program's sentence above a quote.
pub(super) fn is_attribution(line: &str) -> bool {
    ATTRIBUTION.is_match(line)
}

/// `-----Original Message-----`
pub(super) fn is_original(line: &str) -> bool {
    ORIGINAL.is_match(line)
}

/// `---------- Forwarded message ---------`
pub(crate) fn is_forward(line: &str) -> bool {
    FORWARD.is_match(line)
}

/// `Sent from my iPhone`
pub(super) fn is_device(line: &str) -> bool {
    line.len() <= 200 && DEVICE.is_match(line)
}

/// `From: …`
pub(super) fn is_from_field(line: &str) -> bool {
    FROM_FIELD.is_match(line)
}

/// `To: …`
pub(super) fn is_field(line: &str) -> bool {
    ANY_FIELD.is_match(line)
}

/// The places within a line at which a program's sentence may begin: what is before, and the sentence.
pub(super) fn shared(line: &str) -> Option<(&str, &str)> {
    let found =
        SHARED_LINE.find(line).filter(|found| !line.get(..found.start()).unwrap_or_default().trim().is_empty())?;
    let (before, rest) = line.split_at_checked(found.start())?;
    Some((before.trim_end_matches(['-', ' ']), rest.trim_start_matches(['-', ' ', '\t', '\u{a0}'])))
}

/// A line that names a moment, as the dates above a quoted mail do.
pub(super) fn has_moment(line: &str) -> bool {
    MOMENTS.is_match(line)
}

/// Nothing but a link.
pub(super) fn is_link(line: &str) -> bool {
    LINKS.is_match(line)
}

/// Nothing but signs that separate.
pub(super) fn is_rule(line: &str) -> bool {
    let line = line.trim();
    let count = line.chars().count();
    line == "ᐧ" || (count >= 2 && line.chars().all(|c| "-_*=#~+—–".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        for pattern in ATTRIBUTIONS {
            assert!(Regex::new(&whole(pattern)).is_ok(), "{pattern}");
        }
        assert!(!flat(DEVICES).contains('\n') && !flat(ORIGINALS).contains("  "));
    }

    #[test]
    fn programs_are_understood_and_people_are_left_alone() {
        for line in [
            "On Mon, Apr 2, 2012 at 6:26 PM, Megan One <xxx@gmail.com> wrote:",
            "Am 03.02.2016 3:35 nachm. schrieb Max Mustermann <noreply@meta.example>:",
            "Le 2016-11-16 02:22, Erlend Sogge Heggen a écrit :",
            "El jueves, 21 de noviembre de 2013, codinghorror escribió:",
            "Em 2 de fevereiro de 2015 10:58, discourse <info@x.org> escreveu:",
            "Il 26 marzo 2016 alle 13.16 Sam <info@x.org> ha scritto:",
            "Op 2 feb. 2015 om 05:28 heeft Vanilla <info@x.org> het volgende geschreven:",
            "Den 15. jun. 2016 kl. 20.42 skrev Jeff Atwood <info@x.org>:",
            "понедельник, 6 октября 2014 г. пользователь lidel написал:",
            "30 серп. 2016 р. 20:45 \"Arpit\" <no-reply@x.org> пише:",
            "W dniu 12.04.2016 o 10:11, Jan Kowalski pisze:",
            "2012/4/2 Jan Kowalski <jan@x.pl> napisał(a):",
            "2016-10-24 15:36 GMT+02:00 Foo bar < info@foo.bar>:",
            "在 2016年4月2日,18:22,鲍勃 <bob@x.org> 写道:",
            "2016年4月2日 18:22 ボブ <bob@x.org>:",
            "2016년 4월 2일 오후 6:22, 밥 <bob@x.org>님이 작성:",
            "At 6/16/2016 08:32 PM, you wrote:",
            "Some One <info@discourse.org> wrote:",
        ] {
            let known =
                is_attribution(line) || line.contains("napisał(a)") && is_attribution(&format!("W dniu {line}"));
            assert!(known, "{line}");
        }
        for line in [
            "On 11-Apr-2011, at 6:54 PM, Roman Tkachenko <romant@example.com> sent:",
            "---- John Smith wrote ----",
            "---- On Tue, 22 Dec 2015 14:17:36 +0530 Sam Saffron<info@discourse.org> wrote ----",
            "2011/4/7 Nathan Niova <support@example.com>",
            "2013/7/20 sam via Discourse Meta <info@discourse.org>",
            "codinghorror via Discourse Meta wrote:",
            "codinghorror via Discourse Meta <info@discourse.org> schrieb:",
            "Max Mustermann <try@discoursemail.example> schrieb am Fr., 28. Apr. 2017 um 11:53 Uhr:",
            "Am 3. Mai 2016 um 10:12 schrieben Sie:",
            "Op 24 feb. 2015 om 22:48 heeft John Doe <john@doe.example> geschreven:",
            "søn. 30. apr. 2017 kl. 00.26 skrev David Taylor <meta@discoursemail.com>:",
            "суббота, 14 марта 2015 г. пользователь etewiah написал:",
            "вт, 5 янв. 2016 г. в 23:39, Erlend Sogge Heggen <info@discourse.org>:",
            "ср, 1 апр. 2015, 18:29, Denis Didkovsky <info@discourse.org>:",
            "26.06.2014, 14:41, \"Alexander L\" <abc@example.com>:",
            "Thu, 26 Jun 2014 14:00:51 +0400 от Alexander L <abc@example.com>:",
            "23 mar 2017 21:25 \"Neil Lalonde\" <meta@discoursemail.com> napisał(a):",
            "Dnia 14 lip 2015 o godz. 00:25 Michael Downey <info@discourse.org> napisał(a):",
            "In message <abc@example.com> Ann writes:",
            "Posted by mpalmer on 01/21/2016",
            "Le 3 mai 2016, Ann nous a dit :",
        ] {
            assert!(is_attribution(line), "{line}");
        }
        for line in [
            "On Monday I wrote you a letter, and nobody answered.",
            "I wrote:",
            "Thanks, that is what my brother wrote to me on 4 May.",
            "Am Montag komme ich.",
            "Le prix est de 20 euros.",
            "On Monday he said: no.",
            "We met on 2 May 2026 at 10:30, ann@x.org was there:",
            "He wrote via the shop, and nobody answered.",
            "Der Text ist gut geschrieben:",
        ] {
            assert!(!is_attribution(line), "{line}");
        }
        assert!(
            is_original("-----Ursprüngliche Nachricht-----") && is_original("*-------- Original Message --------*")
        );
        assert!(!is_original("This is the original message"));
        assert!(is_forward("---------- Forwarded message ---------") && is_forward("> Begin forwarded message:"));
        assert!(is_forward("Anfang der weitergeleiteten Nachricht:"));
        assert!(is_device("Sent from my Windows 8 PC <http://windows.example>") && is_device("Sendt fra min iPad"));
        assert!(!is_device("I sent it from my office yesterday, did you get it?"));
        assert!(is_from_field("*Von:* Ann") && is_field("Betreff: x") && !is_field("Note that: this"));
    }
}
