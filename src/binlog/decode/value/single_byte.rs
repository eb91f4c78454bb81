//! MySQL's character sets of one byte a character.
//!
//! `encoding_rs` knows them in the form that browsers use. Where MySQL maps a
//! byte otherwise, found by converting each byte on a server, MySQL's mapping
//! stands here. Sets that `encoding_rs` does not know are not converted.

use std::sync::Arc;

use encoding_rs::Encoding;

/// Stands in a table for a byte without a character: a code point that is not
/// a character either. (The replacement character belongs to tis620.)
pub const UNDEFINED: char = '\u{FFFF}';

/// The character of each byte; `None` for a set that cannot be converted.
pub fn table(charset: &str) -> Option<Arc<[char]>> {
    let encoding = encoding(charset)?;
    let character = |byte| character(charset, encoding, byte).unwrap_or(UNDEFINED);
    Some((0..=u8::MAX).map(character).collect())
}

fn encoding(charset: &str) -> Option<&'static Encoding> {
    Some(match charset {
        "cp1250" => encoding_rs::WINDOWS_1250,
        "cp1251" => encoding_rs::WINDOWS_1251,
        "cp1256" => encoding_rs::WINDOWS_1256,
        "cp1257" => encoding_rs::WINDOWS_1257,
        "cp866" => encoding_rs::IBM866,
        "greek" => encoding_rs::ISO_8859_7,
        "hebrew" => encoding_rs::ISO_8859_8,
        "koi8r" => encoding_rs::KOI8_R,
        "koi8u" => encoding_rs::KOI8_U,
        "latin1" => encoding_rs::WINDOWS_1252,
        "latin2" => encoding_rs::ISO_8859_2,
        "latin5" => encoding_rs::WINDOWS_1254,
        "latin7" => encoding_rs::ISO_8859_13,
        "macroman" => encoding_rs::MACINTOSH,
        "tis620" => encoding_rs::WINDOWS_874,
        _ => return None,
    })
}

fn character(charset: &str, encoding: &'static Encoding, byte: u8) -> Option<char> {
    match (charset, byte) {
        // ISO's control characters, where the encoding has Windows' letters.
        ("latin5" | "tis620", 0x80..=0x9F) => Some(char::from(byte)),
        ("tis620", 0xA0 | 0xDB..=0xDE | 0xFC..=0xFF) => Some(char::REPLACEMENT_CHARACTER),
        ("greek", 0xA1) => Some('\u{2BD}'),
        ("greek", 0xA2) => Some('\u{2BC}'),
        // Later additions to the set.
        ("greek", 0xA4 | 0xA5 | 0xAA)
        | ("cp1256", 0x8A | 0x8F | 0x98 | 0x9A | 0x9F | 0xAA | 0xC0 | 0xFF) => None,
        ("hebrew", 0xAF) => Some('\u{203E}'),
        ("cp866", 0xFC) => Some('ⁿ'),
        ("cp866", 0xFD) => Some('²'),
        ("koi8u", 0x95) => Some('•'),
        ("koi8u", 0xAE) => Some('╝'),
        ("koi8u", 0xBE) => Some('╬'),
        _ => {
            let code = [byte];
            let text = encoding.decode_without_bom_handling_and_without_replacement(&code);
            let letter = text.and_then(|text| text.chars().next());
            // The encoding fills the gaps of Windows' sets with control
            // characters. MySQL does that for latin1 only.
            let has_gaps = matches!(charset, "cp1250" | "cp1251" | "cp1257");
            letter.filter(|letter| letter.is_ascii() || !has_gaps || !letter.is_control())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_map_as_in_mysql() {
        for (charset, bytes, expected) in [
            ("latin1", [0x80, 0x81, 0xE9], ['€', '\u{81}', 'é']),
            ("latin2", [0x80, 0xA1, 0xE6], ['\u{80}', 'Ą', 'ć']),
            ("latin5", [0x80, 0x9F, 0xFD], ['\u{80}', '\u{9F}', 'ı']),
            ("latin7", [0x80, 0xA1, 0xFF], ['\u{80}', '”', '’']),
            ("greek", [0xA1, 0xA4, 0xE1], ['ʽ', UNDEFINED, 'α']),
            ("hebrew", [0xAF, 0xA1, 0xE0], ['‾', UNDEFINED, '\u{5D0}']),
            ("cp1250", [0x80, 0x81, 0x8A], ['€', UNDEFINED, 'Š']),
            ("cp1251", [0x80, 0x98, 0xDF], ['Ђ', UNDEFINED, 'Я']),
            (
                "cp1256",
                [0x81, 0x8A, 0xC1],
                ['\u{67E}', UNDEFINED, '\u{621}'],
            ),
            ("cp1257", [0x8D, 0x9F, 0xA1], ['¨', UNDEFINED, UNDEFINED]),
            ("cp866", [0x80, 0xFC, 0xFD], ['А', 'ⁿ', '²']),
            ("koi8r", [0x95, 0xAE, 0xC1], ['∙', '╝', 'а']),
            ("koi8u", [0x95, 0xAE, 0xA4], ['•', '╝', 'є']),
            ("macroman", [0x80, 0xDB, 0xF0], ['Ä', '€', '\u{F8FF}']),
            ("tis620", [0x80, 0xA0, 0xA1], ['\u{80}', '\u{FFFD}', 'ก']),
        ] {
            let table = table(charset).unwrap();
            assert_eq!(table.len(), 256, "{charset}");
            let mapped = bytes.map(|byte: u8| table[usize::from(byte)]);
            assert_eq!(mapped, expected, "{charset}");
            for byte in 0..0x80_u8 {
                assert_eq!(table[usize::from(byte)], char::from(byte), "{charset}");
            }
        }
        assert!(table("utf8mb4").is_none());
        assert!(table("dec8").is_none());
    }
}
