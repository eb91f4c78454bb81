//! MySQL's character sets of one byte a character.
//!
//! The tables are the server's own, read back with
//! `CONVERT(CONVERT(UNHEX('80') USING latin2) USING utf32)` for each byte. They
//! differ in places from the sets of the same names elsewhere: latin1 is
//! cp1252 with its gaps filled, latin5 keeps the C1 controls.

use std::sync::Arc;

/// What a byte without a character maps to: a code point that is none either.
/// (To tis620 the replacement character belongs.)
pub const UNDEFINED: char = '\u{FFFF}';

/// One character for each byte; `None` for a set that is not one of these.
pub fn table(charset: &str) -> Option<Arc<[char]>> {
    let upper = upper_half(charset)?;
    let mut table: Vec<char> = (0..128_u8).map(char::from).collect();
    if charset == "swe7" {
        for (byte, letter) in SWE7 {
            if let Some(entry) = table.get_mut(usize::from(byte)) {
                *entry = letter;
            }
        }
    }
    table.extend(upper.chars());
    table.resize(256, UNDEFINED);
    Some(table.into())
}

/// The Swedish letters that swe7 puts in the place of ASCII's.
const SWE7: [(u8, char); 11] = [
    (0x40, 'É'),
    (0x5B, 'Ä'),
    (0x5C, 'Ö'),
    (0x5D, 'Å'),
    (0x5E, 'Ü'),
    (0x60, 'é'),
    (0x7B, 'ä'),
    (0x7C, 'ö'),
    (0x7D, 'å'),
    (0x7E, 'ü'),
    (0x7F, UNDEFINED),
];

/// The characters of the bytes from 0x80 on.
fn upper_half(charset: &str) -> Option<&'static str> {
    Some(match charset {
        "armscii8" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}❁§։)(»«—.՝,-՟…՜\
             ՛՞ԱաԲբԳգԴդԵեԶզԷէ\
             ԸըԹթԺժԻիԼլԽխԾծԿկ\
             ՀհՁձՂղՃճՄմՅյՆնՇշ\
             ՈոՉչՊպՋջՌռՍսՎվՏտ\
             ՐրՑցՒւՓփՔքՕօՖֆ’'"
        }
        "cp1250" => {
            "€\u{ffff}‚\u{ffff}„…†‡\u{ffff}‰Š‹ŚŤŽŹ\
             \u{ffff}‘’“”•–—\u{ffff}™š›śťžź\
             \u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż\
             °±˛ł´µ¶·¸ąş»Ľ˝ľż\
             ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎ\
             ĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß\
             ŕáâăäĺćçčéęëěíîď\
             đńňóôőö÷řůúűüýţ˙"
        }
        "cp1251" => {
            "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏ\
             ђ‘’“”•–—\u{ffff}™љ›њќћџ\
             \u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї\
             °±Ііґµ¶·ё№є»јЅѕї\
             АБВГДЕЖЗИЙКЛМНОП\
             РСТУФХЦЧШЩЪЫЬЭЮЯ\
             абвгдежзийклмноп\
             рстуфхцчшщъыьэюя"
        }
        "cp1256" => {
            "€\u{67e}‚ƒ„…†‡ˆ‰\u{ffff}‹Œ\u{686}\u{698}\u{ffff}\
             \u{6af}‘’“”•–—\u{ffff}™\u{ffff}›œ\u{200c}\u{200d}\u{ffff}\
             \u{a0}،¢£¤¥¦§¨©\u{ffff}«¬\u{ad}®¯\
             °±²³´µ¶·¸¹\u{61b}»¼½¾\u{61f}\
             \u{ffff}\u{621}\u{622}\u{623}\u{624}\u{625}\u{626}\u{627}\u{628}\u{629}\u{62a}\u{62b}\u{62c}\u{62d}\u{62e}\u{62f}\
             \u{630}\u{631}\u{632}\u{633}\u{634}\u{635}\u{636}×\u{637}\u{638}\u{639}\u{63a}\u{640}\u{641}\u{642}\u{643}\
             à\u{644}â\u{645}\u{646}\u{647}\u{648}çèéêë\u{649}\u{64a}îï\
             \u{64b}\u{64c}\u{64d}\u{64e}ô\u{64f}\u{650}÷\u{651}ù\u{652}ûü\u{200e}\u{200f}\u{ffff}"
        }
        "cp1257" => {
            "€\u{ffff}‚\u{ffff}„…†‡\u{ffff}‰\u{ffff}‹\u{ffff}¨ˇ¸\
             \u{ffff}‘’“”•–—\u{ffff}™\u{ffff}›\u{ffff}¯˛\u{ffff}\
             \u{a0}\u{ffff}¢£¤\u{ffff}¦§Ø©Ŗ«¬\u{ad}®Æ\
             °±²³´µ¶·ø¹ŗ»¼½¾æ\
             ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻ\
             ŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß\
             ąįāćäåęēčéźėģķīļ\
             šńņóōõö÷ųłśūüżž˙"
        }
        "cp850" => {
            "ÇüéâäàåçêëèïîìÄÅ\
             ÉæÆôöòûùÿÖÜø£Ø×ƒ\
             áíóúñÑªº¿®¬½¼¡«»\
             ░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
             └┴┬├─┼ãÃ╚╔╩╦╠═╬¤\
             ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀\
             ÓßÔÒõÕµþÞÚÛÙýÝ¯´\
             \u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}"
        }
        "cp852" => {
            "ÇüéâäůćçłëŐőîŹÄĆ\
             ÉĹĺôöĽľŚśÖÜŤťŁ×č\
             áíóúĄąŽžĘę¬źČş«»\
             ░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐\
             └┴┬├─┼Ăă╚╔╩╦╠═╬¤\
             đĐĎËďŇÍÎě┘┌█▄ŢŮ▀\
             ÓßÔŃńňŠšŔÚŕŰýÝţ´\
             \u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}"
        }
        "cp866" => {
            "АБВГДЕЖЗИЙКЛМНОП\
             РСТУФХЦЧШЩЪЫЬЭЮЯ\
             абвгдежзийклмноп\
             ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
             └┴┬├─┼╞╟╚╔╩╦╠═╬╧\
             ╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
             рстуфхцчшщъыьэюя\
             ЁёЄєЇїЎў°∙·√ⁿ²■\u{a0}"
        }
        "dec8" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}¡¢£\u{ffff}¥\u{ffff}§¤©ª«\u{ffff}\u{ffff}\u{ffff}\u{ffff}\
             °±²³\u{ffff}µ¶·\u{ffff}¹º»¼½\u{ffff}¿\
             ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ\
             \u{ffff}ÑÒÓÔÕÖŒØÙÚÛÜŸ\u{ffff}ß\
             àáâãäåæçèéêëìíîï\
             \u{ffff}ñòóôõöœøùúûüÿ\u{ffff}\u{ffff}"
        }
        "geostd8" => {
            "€\u{ffff}‚\u{ffff}„…†‡\u{ffff}‰\u{ffff}‹\u{ffff}\u{ffff}\u{ffff}\u{ffff}\
             \u{ffff}‘’“”•–—\u{ffff}\u{ffff}\u{ffff}›\u{ffff}\u{ffff}\u{ffff}\u{ffff}\
             \u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯\
             °±²³´µ¶·¸¹º»¼½¾¿\
             აბგდევზჱთიკლმნჲო\
             პჟრსტჳუფქღყშჩცძწ\
             ჭხჴჯჰჵ\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\
             \u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}№\u{ffff}\u{ffff}"
        }
        "greek" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}ʽʼ£\u{ffff}\u{ffff}¦§¨©\u{ffff}«¬\u{ad}\u{ffff}―\
             °±²³΄΅Ά·ΈΉΊ»Ό½ΎΏ\
             ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟ\
             ΠΡ\u{ffff}ΣΤΥΦΧΨΩΪΫάέήί\
             ΰαβγδεζηθικλμνξο\
             πρςστυφχψωϊϋόύώ\u{ffff}"
        }
        "hebrew" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}\u{ffff}¢£¤¥¦§¨©×«¬\u{ad}®‾\
             °±²³´µ¶·¸¹÷»¼½¾\u{ffff}\
             \u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\
             \u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}\u{ffff}‗\
             \u{5d0}\u{5d1}\u{5d2}\u{5d3}\u{5d4}\u{5d5}\u{5d6}\u{5d7}\u{5d8}\u{5d9}\u{5da}\u{5db}\u{5dc}\u{5dd}\u{5de}\u{5df}\
             \u{5e0}\u{5e1}\u{5e2}\u{5e3}\u{5e4}\u{5e5}\u{5e6}\u{5e7}\u{5e8}\u{5e9}\u{5ea}\u{ffff}\u{ffff}\u{200e}\u{200f}\u{ffff}"
        }
        "hp8" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}ÀÂÈÊËÎÏ´ˋˆ¨˜ÙÛ₤\
             ¯Ýý°ÇçÑñ¡¿¤£¥§ƒ¢\
             âêôûáéóúàèòùäëöü\
             ÅîØÆåíøæÄìÖÜÉïßÔ\
             ÁÃãÐðÍÌÓÒÕõŠšÚŸÿ\
             Þþ·µ¶¾—¼½ªº«■»±\u{ffff}"
        }
        "keybcs2" => {
            "ČüéďäĎŤčěĚĹÍľĺÄÁ\
             ÉžŽôöÓůÚýÖÜŠĽÝŘť\
             áíóúňŇŮÔšřŕŔ¼¡«»\
             ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
             └┴┬├─┼╞╟╚╔╩╦╠═╬╧\
             ╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
             αßΓπΣσµτΦΘΩδ∞φε∩\
             ≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}"
        }
        "koi8r" => {
            "─│┌┐└┘├┤┬┴┼▀▄█▌▐\
             ░▒▓⌠■∙√≈≤≥\u{a0}⌡°²·÷\
             ═║╒ё╓╔╕╖╗╘╙╚╛╜╝╞\
             ╟╠╡Ё╢╣╤╥╦╧╨╩╪╫╬©\
             юабцдефгхийклмно\
             пярстужвьызшэщчъ\
             ЮАБЦДЕФГХИЙКЛМНО\
             ПЯРСТУЖВЬЫЗШЭЩЧЪ"
        }
        "koi8u" => {
            "─│┌┐└┘├┤┬┴┼▀▄█▌▐\
             ░▒▓⌠■•√≈≤≥\u{a0}⌡°²·÷\
             ═║╒ёє╔ії╗╘╙╚╛ґ╝╞\
             ╟╠╡ЁЄ╣ІЇ╦╧╨╩╪Ґ╬©\
             юабцдефгхийклмно\
             пярстужвьызшэщчъ\
             ЮАБЦДЕФГХИЙКЛМНО\
             ПЯРСТУЖВЬЫЗШЭЩЧЪ"
        }
        "latin1" => {
            "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\
             \u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\
             \u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯\
             °±²³´µ¶·¸¹º»¼½¾¿\
             ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ\
             ÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß\
             àáâãäåæçèéêëìíîï\
             ðñòóôõö÷øùúûüýþÿ"
        }
        "latin2" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ\
             °ą˛ł´ľśˇ¸šşťź˝žż\
             ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎ\
             ĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß\
             ŕáâăäĺćçčéęëěíîď\
             đńňóôőö÷řůúűüýţ˙"
        }
        "latin5" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯\
             °±²³´µ¶·¸¹º»¼½¾¿\
             ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ\
             ĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß\
             àáâãäåæçèéêëìíîï\
             ğñòóôõö÷øùúûüışÿ"
        }
        "latin7" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{a0}”¢£¤„¦§Ø©Ŗ«¬\u{ad}®Æ\
             °±²³“µ¶·ø¹ŗ»¼½¾æ\
             ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻ\
             ŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß\
             ąįāćäåęēčéźėģķīļ\
             šńņóōõö÷ųłśūüżž’"
        }
        "macce" => {
            "ÄĀāÉĄÖÜáąČäčĆćéŹ\
             źĎíďĒēĖóėôöõúĚěü\
             †°Ę£§•¶ß®©™ę¨≠ģĮ\
             įĪ≤≥īĶ∂∑łĻļĽľĹĺŅ\
             ņŃ¬√ńŇ∆«»…\u{a0}ňŐÕőŌ\
             –—“”‘’÷◊ōŔŕŘ‹›řŖ\
             ŗŠ‚„šŚśÁŤťÍŽžŪÓÔ\
             ūŮÚůŰűŲųÝýķŻŁżĢˇ"
        }
        "macroman" => {
            "ÄÅÇÉÑÖÜáàâäãåçéè\
             êëíìîïñóòôöõúùûü\
             †°¢£§•¶ß®©™´¨≠ÆØ\
             ∞±≤≥¥µ∂∑∏π∫ªºΩæø\
             ¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ\
             –—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ\
             ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\
             \u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ"
        }
        "swe7" => "",
        "tis620" => {
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\
             \u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\
             \u{fffd}กขฃคฅฆงจฉชซฌญฎฏ\
             ฐฑฒณดตถทธนบปผฝพฟ\
             ภมยรฤลฦวศษสหฬอฮฯ\
             ะัาำิีึื\u{e38}\u{e39}\u{e3a}\u{fffd}\u{fffd}\u{fffd}\u{fffd}฿\
             เแโใไๅๆ็\u{e48}\u{e49}\u{e4a}\u{e4b}์ํ๎๏\
             ๐๑๒๓๔๕๖๗๘๙๚๛\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_character_for_each_byte() {
        for charset in [
            "armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
            "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2",
            "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
        ] {
            let upper = upper_half(charset).unwrap();
            assert!(matches!(upper.chars().count(), 0 | 128), "{charset}");
            assert_eq!(table(charset).unwrap().len(), 256, "{charset}");
        }
        assert!(table("utf8mb4").is_none());
    }
}
