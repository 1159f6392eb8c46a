//! In which language a text is written, found without asking anybody.
//!
//! Two witnesses are heard. Statistics over groups of three letters (whatlang) are right about a paragraph and guess about a
//! line; customers write lines. So the small words come first, of which a line of five words has two or three. Where neither
//! is sure the answer is `unknown`, which rules can ask for.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use whatlang::Lang;

/// What stands for a text whose language cannot be told.
pub(crate) const UNKNOWN: &str = "unknown";
/// Letters that are looked at: a mail's language shows in its first lines.
const MAX_LOOKED_AT: usize = 1_000;
/// Small words of one language that are proof by themselves; a word of several languages counts for a part.
const PROOF: f32 = 1.5;
/// How much more of them than of any other language.
const CLEAR: f32 = 1.6;
/// What the statistics have to say of their own certainty, from 0 to 1: alone, and when a small word agrees.
const SURE: f64 = 0.6;
const SURE_WITH_A_WORD: f64 = 0.15;

/// Words that are frequent in what customers write. Those that several languages share are listed for each.
const WORDS: [(&str, &str); 14] = [
    (
        "en",
        "the and you is are was have has had do does did not my your our i we they it this that there where when what why how \
         who can could would will please thanks thank hello hi need want with from for been about get got me any still yet back \
         order to of am be an if but just help lost forgot password account payment paid charged delivery delivered parcel \
         package refund invoice return cancel cancelled broken damaged wrong item ordered arrived late subscription address \
         change log works working doesn didn don isn wasn waiting never received very much good morning send sent again soon \
         possible too problem",
    ),
    (
        "de",
        "der die das den dem ein eine einen einem einer und ich sie wir ihr es ist sind war habe hat haben nicht kein keine \
         mein meine meinen meiner mir mich ihre ihnen wo wann was warum wie wer kann können könnte möchte würde bitte danke \
         guten tag hallo brauche hilfe mit von für auf zu zum noch schon bestellung rechnung auch wird geld zurück falsch nach \
         vielen stornieren passwort vergessen konto zahlung bezahlt lieferung geliefert paket sendung erstattung rücksendung \
         kündigen kündigung kaputt defekt beschädigt falsche falschen artikel bestellt angekommen verspätet adresse ändern \
         anmelden funktioniert geht warte bekommen erhalten doch bei im beim sehr morgen wochen immer gekommen schicken gruß \
         grüße freundlichen liebe problem dank",
    ),
    (
        "fr",
        "le la les un une des et je vous nous il elle est sont était ai avez avons ne pas mon ma mes votre notre où quand que \
         quoi pourquoi comment qui peux pouvez pourrais voudrais merci bonjour besoin avec de du pour sur dans encore commande \
         plaît au aux ce cette j c n qu livraison livré livrée retard passe compte paiement payé colis remboursement rembourser \
         facture retour annuler annulé cassé cassée abîmé article commandé arrivé arrivée adresse changer marche fonctionne \
         reçu toujours jamais beaucoup bonsoir salut cordialement svp problème veux perdu oublié",
    ),
    (
        "es",
        "el la los las un una y yo usted nosotros es son está están era tengo tiene no mi mis su dónde donde cuándo cuando qué \
         que por cómo como quién puedo puede podría quiero quisiera gracias hola necesito con de del para en todavía pedido \
         favor me dinero ayuda reembolso contraseña cuenta pago pagado entrega entregado paquete factura devolución devolver \
         cancelar cancelado roto rota dañado artículo pedí llegado llega tarde dirección cambiar funciona recibido nunca muchas \
         mucho buenos buenas días tardes problema perdido olvidado hace",
    ),
    (
        "it",
        "il lo la gli le un uno una e io lei noi è sono era ho ha non mio mia miei vostro dove dov quando che cosa perché come \
         chi posso può potrebbe vorrei voglio grazie ciao buongiorno bisogno con di del della per nel ancora ordine favore mi \
         aiuto rimborso password account pagamento pagato consegna consegnato pacco fattura reso restituire annullare annullato \
         rotto rotta danneggiato articolo ordinato arrivato ritardo indirizzo cambiare funziona ricevuto mai molto molte \
         buonasera salve problema perso dimenticato",
    ),
    (
        "pt",
        "o a os as um uma e eu você nós é são está era tenho tem não meu minha meus seu onde quando que por quê porque como \
         quem posso pode poderia quero gostaria obrigado obrigada olá oi preciso com de do da para em ainda pedido favor \
         dinheiro ajuda reembolso senha conta pagamento pago entrega entregue pacote encomenda fatura devolução devolver \
         cancelar cancelado quebrado partido danificado artigo chegou atrasado atraso endereço mudar alterar funciona recebi \
         nunca muito muita bom dia boa tarde problema perdi esqueci",
    ),
    (
        "nl",
        "de het een en ik u wij we jullie is zijn was heb heeft hebben niet geen mijn uw onze waar wanneer wat waarom hoe wie \
         kan kunt zou wil graag alstublieft bedankt dank hallo nodig met van voor op nog bestelling mij hulp terug geld er naar \
         wachtwoord vergeten account betaling betaald levering bezorgd bezorging pakket terugbetaling factuur retour \
         retourneren annuleren geannuleerd kapot beschadigd verkeerde artikel besteld aangekomen laat adres wijzigen werkt \
         ontvangen nooit heel veel goedemorgen goedemiddag probleem kwijt ben morgen",
    ),
    (
        "pl",
        "i ja pan pani my jest są był mam ma nie mój moja moje gdzie kiedy co dlaczego jak kto mogę może chciałbym chcę proszę \
         dziękuję cześć dzień dobry potrzebuję z od do na w jeszcze zamówienie się to czy pomoc za \
         hasło konto płatność zapłaciłem zapłaciłam dostawa przesyłka paczka zwrot faktura anulować anulowane zepsuty \
         uszkodzony artykuł zamówiłem zamówiłam dotarła dotarło spóźnia adres zmienić działa otrzymałem otrzymałam \
         nigdy bardzo dziękujemy witam problem zgubiłem zapomniałem",
    ),
    (
        "sv",
        "och jag du ni vi det den är var har hade inte min mitt mina er vår när vad varför hur vem kan skulle vill tack hej \
         behöver med från för på till ännu beställning en ett hjälp som \
         lösenord konto betalning betalat leverans levererat paket återbetalning faktura retur returnera avbeställa \
         trasig skadad fel vara beställt kommit sen adress ändra fungerar fått aldrig mycket morgon problem tappat \
         glömt",
    ),
    (
        "da",
        "og jeg du i vi det den er var har havde ikke min mit mine jeres vores hvor hvornår hvad hvorfor hvordan hvem kan kunne \
         vil gerne tak hej behøver med fra for på til endnu bestilling en et hjælp som \
         adgangskode konto betaling betalt levering leveret pakke refusion faktura retur returnere annullere ødelagt \
         beskadiget forkert vare bestilt kommet forsinket adresse ændre virker fået aldrig meget morgen problem \
         mistet glemt mange",
    ),
    (
        "tr",
        "ve ben siz biz bu bir mi mı değil var yok benim nerede ne zaman neden nasıl kim istiyorum lütfen teşekkürler merhaba \
         ile için da de siparişim hala yardım çok paket adres",
    ),
    (
        "ru",
        "и я вы мы он она это не мой моя моё мои ваш где когда что почему как кто могу можете хочу пожалуйста спасибо здравствуйте \
         привет нужно нужна с от для на в ещё заказ у меня мне есть помощь",
    ),
    (
        "uk",
        "і та я ви ми він вона це не мій моя моє мої ваш де коли що чому як хто можу можете хочу будь ласка дякую вітаю привіт \
         потрібно з від для на в ще замовлення у мене мені є допомога",
    ),
    (
        "fi",
        "ja minä te me se on ovat oli en ei minun missä milloin mitä miksi miten kuka voin voitko haluan kiitos hei moi tarvitsen \
         tilaus tilaukseni vielä apua tämä että",
    ),
];

/// Small words, each with the languages that have it, by their place in [`WORDS`].
static SMALL: LazyLock<BTreeMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut all: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
    for (i, (_, words)) in WORDS.iter().enumerate() {
        words.split_whitespace().for_each(|w| all.entry(w).or_default().push(i));
    }
    all
});

/// The language of a text: a two-letter code of ISO 639-1 (three letters of 639-3 where there is none), or [`UNKNOWN`].
/// A text without letters, or none at all, is in no language that is known.
pub(crate) fn detect(text: &str) -> &'static str {
    let text = readable(text);
    if !text.chars().any(char::is_alphabetic) {
        return UNKNOWN;
    }
    let (words, proof, next) = by_words(&text);
    if proof >= PROOF && proof >= next * CLEAR {
        return words;
    }
    let Some(found) = whatlang::detect(&text) else { return UNKNOWN };
    let statistics = code(found.lang());
    let agreed = proof >= 1.0 && words == statistics;
    let enough = if agreed { SURE_WITH_A_WORD } else { SURE };
    if found.confidence() >= enough { statistics } else { UNKNOWN }
}

/// The language part of what an adapter said, as in `pt-BR`; what says nothing is [`UNKNOWN`].
pub(crate) fn primary(said: &str) -> &str {
    let part = said.split(['-', '_']).next().unwrap_or_default().trim();
    let nothing = part.is_empty() || ["und", "zxx", "mul", "mis", UNKNOWN].iter().any(|n| part.eq_ignore_ascii_case(n));
    if nothing { UNKNOWN } else { part }
}

/// Whether a rule can ask for it.
pub(crate) fn is_code(written: &str) -> bool {
    written.eq_ignore_ascii_case(UNKNOWN)
        || (matches!(written.len(), 2 | 3) && written.bytes().all(|b| b.is_ascii_alphabetic()))
}

/// The beginning in small letters, without what is no language: addresses, links, numbers.
fn readable(text: &str) -> String {
    let mut kept = String::new();
    for word in text.split_whitespace() {
        if kept.len() > MAX_LOOKED_AT {
            break;
        }
        if word.contains(['@', '/', '_', '#']) || word.chars().any(char::is_numeric) {
            continue;
        }
        kept.extend(word.chars().take(60).flat_map(char::to_lowercase));
        kept.push(' ');
    }
    kept
}

/// The language with the most of its small words in the text, how much they prove, and how much those of the next prove.
fn by_words(text: &str) -> (&'static str, f32, f32) {
    let mut score = [0.0_f32; WORDS.len()];
    let mut seen: Vec<&str> = Vec::new();
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()) {
        if seen.contains(&word) {
            continue;
        }
        seen.push(word);
        let Some(languages) = SMALL.get(word) else { continue };
        // Twice as many languages, half the proof.
        let part = 1.0 / f32::from(u16::try_from(languages.len()).unwrap_or(u16::MAX));
        for language in languages {
            if let Some(s) = score.get_mut(*language) {
                *s += part;
            }
        }
    }
    let (mut best, mut proof, mut next) = (UNKNOWN, 0.0, 0.0);
    for ((language, _), s) in WORDS.iter().zip(score) {
        if s > proof {
            (next, best, proof) = (proof, language, s);
        } else if s > next {
            next = s;
        }
    }
    (best, proof, next)
}

/// Codes of ISO 639-3, each with its two letters of ISO 639-1.
const CODES: &str = "\
    epo eo eng en rus ru cmn zh spa es por pt ita it ben bn fra fr deu de ukr uk kat ka ara ar hin hi jpn ja \
    heb he yid yi pol pl amh am jav jv kor ko nob no dan da swe sv fin fi tur tr nld nl hun hu ces cs ell el \
    bul bg bel be mar mr kan kn ron ro slv sl hrv hr srp sr mkd mk lit lt lav lv est et tam ta vie vi urd ur \
    tha th guj gu uzb uz pan pa aze az ind id tel te pes fa mal ml ori or mya my nep ne sin si khm km tuk tk \
    aka ak zul zu sna sn afr af lat la slk sk cat ca tgl tl hye hy cym cy";

/// The two letters of ISO 639-1; the three of 639-3 for what has none there.
fn code(lang: Lang) -> &'static str {
    let three = lang.code();
    let mut words = CODES.split(' ');
    while let (Some(long), Some(short)) = (words.next(), words.next()) {
        if long == three {
            return short;
        }
    }
    three
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as customers write them.
    #[test]
    fn lines_of_customers() {
        for (language, text) in [
            ("de", "Vielen Dank"),
            ("de", "Bitte stornieren"),
            ("de", "Paket nicht angekommen"),
            ("en", "I lost my password"),
            ("en", "parcel arrived damaged"),
            ("fr", "livraison en retard"),
            ("es", "Quiero un reembolso"),
            ("it", "pacco non arrivato"),
            ("pt", "encomenda não chegou"),
            ("nl", "pakket niet ontvangen"),
            ("de", "Wo ist meine Bestellung?"),
            ("de", "Ich möchte mein Geld zurück"),
            ("de", "Die Lieferung ist kaputt"),
            ("de", "Ich brauche Hilfe"),
            ("de", "Guten Tag, ich habe eine Frage zu meiner Rechnung 4711"),
            ("en", "Where is my order?"),
            ("en", "I want my money back"),
            ("en", "Do you have this in blue?"),
            ("en", "My parcel has not arrived yet and I am getting annoyed"),
            ("fr", "Où est ma commande ?"),
            ("fr", "Bonjour, je voudrais un remboursement s'il vous plaît"),
            ("es", "¿Dónde está mi pedido?"),
            ("es", "Quiero que me devuelvan el dinero, por favor"),
            ("it", "Dov'è il mio ordine?"),
            ("it", "Vorrei un rimborso per favore, grazie"),
            ("nl", "Waar is mijn bestelling?"),
            ("pt", "Onde está o meu pedido?"),
            ("pl", "Gdzie jest moje zamówienie?"),
            ("sv", "Var är min beställning?"),
            ("ru", "Где мой заказ?"),
            ("uk", "Де моє замовлення?"),
            ("ja", "注文はどこですか"),
            ("zh", "我的订单在哪里？"),
            ("ko", "제 주문은 어디에 있나요?"),
            ("el", "Πού είναι η παραγγελία μου;"),
        ] {
            assert_eq!(detect(text), language, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_unknown_and_what_has_no_letters_has_no_language() {
        for text in ["ok", "STOP", "hallo", "asdf qwer", "refund", "Anna", "iPhone Ladegerät XL"] {
            assert_eq!(detect(text), UNKNOWN, "{text}");
        }
        for text in ["", "  ", "123456", "👍", "+15551230001 !!", "#123456 https://shop.example/a-b ann@shop.example"]
        {
            assert_eq!(detect(text), UNKNOWN, "{text}");
        }
    }

    #[test]
    fn what_an_adapter_says_is_cut_to_the_language() {
        assert_eq!((primary("pt-BR"), primary("de_AT"), primary("fr")), ("pt", "de", "fr"));
        assert_eq!((primary("und"), primary(""), primary("Unknown")), (UNKNOWN, UNKNOWN, UNKNOWN));
        assert!(is_code("de") && is_code("unknown") && !is_code("german") && !is_code("de-AT") && is_code("DE"));
    }

    #[test]
    fn hostile_texts_are_cut() {
        let long = "ich habe eine frage ".repeat(100_000);
        assert_eq!(detect(&long), "de");
        assert_eq!(detect(&"a".repeat(1_000_000)), UNKNOWN);
        assert!(readable(&"ß".repeat(1_000_000)).len() < 200);
    }
}
