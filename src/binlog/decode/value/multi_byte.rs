//! MySQL's character sets of the far east.
//!
//! `encoding_rs` knows them in the form that browsers use, which maps some
//! characters otherwise than MySQL and knows some that MySQL does not. Where
//! they differ, found by converting every two-byte and three-byte code on a
//! server, MySQL's mapping stands here.
//!
//! Two ranges that MySQL maps are not converted: big5's ETEN extension (0xC6A1 to
//! 0xC8FE) and the IBM extension of eucjpms (0x8FF3F3 to 0x8FF4FE).

use encoding_rs::Encoding;

/// One of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiByte {
    Big5,
    Gb2312,
    Gbk,
    Gb18030,
    EucKr,
    Sjis,
    Cp932,
    Ujis,
    EucJpMs,
}

/// The way from a code to a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    /// As the encoding maps it.
    Encoding,
    /// Otherwise than the encoding maps it.
    Character(char),
    /// Not at all.
    Undefined,
}

use Mapping::{Character, Undefined};

impl MultiByte {
    /// `bytes` in UTF-8; `None` where they are malformed or hold a code without
    /// a character.
    pub fn text(self, bytes: &[u8]) -> Option<String> {
        let mut text = String::with_capacity(bytes.len() * 3 / 2);
        let mut rest = bytes;
        while let Some(&lead) = rest.first() {
            let (code, after) = rest.split_at_checked(self.length(lead, rest.get(1)))?;
            rest = after;
            if let [ascii @ 0..=0x7F] = *code {
                text.push(char::from(ascii));
                continue;
            }
            match self.mapping(code) {
                Character(letter) => text.push(letter),
                Undefined => return None,
                Mapping::Encoding => {
                    let letters = self
                        .encoding()
                        .decode_without_bom_handling_and_without_replacement(code)?;
                    if self.lacks_private_use() && letters.contains(is_private_use) {
                        return None;
                    }
                    text.push_str(&letters);
                }
            }
        }
        Some(text)
    }

    /// Number of bytes of the code that begins with `lead`.
    fn length(self, lead: u8, second: Option<&u8>) -> usize {
        match (self, lead) {
            (_, 0..=0x7F) => 1,
            (Self::Sjis | Self::Cp932, 0xA0..=0xDF) => 1,
            (Self::Ujis | Self::EucJpMs, 0x8F) => 3,
            (Self::Gb18030, _) if matches!(second, Some(0x30..=0x39)) => 4,
            _ => 2,
        }
    }

    fn encoding(self) -> &'static Encoding {
        match self {
            Self::Big5 => encoding_rs::BIG5,
            Self::Gb2312 | Self::Gbk => encoding_rs::GBK,
            Self::Gb18030 => encoding_rs::GB18030,
            Self::EucKr => encoding_rs::EUC_KR,
            Self::Sjis | Self::Cp932 => encoding_rs::SHIFT_JIS,
            Self::Ujis | Self::EucJpMs => encoding_rs::EUC_JP,
        }
    }

    /// Sets whose user-defined codes the encoding maps to the private use area
    /// and MySQL to nothing.
    fn lacks_private_use(self) -> bool {
        matches!(self, Self::Gb2312 | Self::Gbk | Self::Sjis)
    }

    fn mapping(self, code: &[u8]) -> Mapping {
        let number = code
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        match self {
            Self::Big5 => big5(number),
            Self::Gb2312 => match number {
                0xA1A4 => Character('\u{30FB}'),
                0xA1AA => Character('\u{2015}'),
                0xA2A1..=0xA2AA | 0xA2E3 | 0xA6D9..=0xA6F5 | 0xA8BB..=0xA8C0 => Undefined,
                _ => Mapping::Encoding,
            },
            Self::Gbk => match number {
                0xA2E3
                | 0xA3A0
                | 0xA6D9..=0xA6DF
                | 0xA6EC..=0xA6ED
                | 0xA6F3
                | 0xA8BC
                | 0xA8BF
                | 0xA989..=0xA995
                | 0xFE50..=0xFEA0 => Undefined,
                _ => Mapping::Encoding,
            },
            Self::Gb18030 => gb18030(number),
            Self::EucKr | Self::Cp932 => Mapping::Encoding,
            Self::Sjis => match number {
                0x815F => Character('\\'),
                0x8700..=0x87FF | 0xED00..=0xEEFF | 0xF000..=0xFCFF => Undefined,
                0x8160 => Character('\u{301C}'),
                0x8161 => Character('\u{2016}'),
                0x817C => Character('\u{2212}'),
                0x8191 => Character('\u{00A2}'),
                0x8192 => Character('\u{00A3}'),
                0x81CA => Character('\u{00AC}'),
                _ => Mapping::Encoding,
            },
            Self::Ujis => match number {
                0xA1C0 => Character('\\'),
                0xA1C1 => Character('\u{301C}'),
                0xA1C2 => Character('\u{2016}'),
                0xA1DD => Character('\u{2212}'),
                0xA1F1 => Character('\u{00A2}'),
                0xA1F2 => Character('\u{00A3}'),
                0xA2CC => Character('\u{00AC}'),
                0xAD00..=0xADFF => Undefined,
                0x8F_A2B7 => Character('~'),
                _ => user_defined(number),
            },
            Self::EucJpMs => match number {
                0x8F_A2C3 => Character('\u{FFE4}'),
                _ => user_defined(number),
            },
        }
    }
}

/// The user-defined rows 85 to 94 of both planes of the EUC sets, 94 codes in
/// each, fill the private use area from its start.
fn user_defined(number: u32) -> Mapping {
    let base = match number {
        0xF5A1..=0xFEFE => 0xE000,
        0x8F_F5A1..=0x8F_FEFE => 0xE3AC,
        _ => return Mapping::Encoding,
    };
    let (row, column) = ((number >> 8 & 0xFF) - 0xF5, number & 0xFF);
    match column {
        0xA1..=0xFE => char::from_u32(base + row * 94 + column - 0xA1).map_or(Undefined, Character),
        _ => Undefined,
    }
}

fn big5(number: u32) -> Mapping {
    Character(match number {
        0xA145 => '\u{2022}',
        0xA14E => '\u{FF64}',
        0xA15A | 0xA1C3 | 0xA1C5 | 0xA1FE | 0xA240 | 0xA2CC | 0xA2CE => '\u{FFFD}',
        0xA1C2 => '\u{203E}',
        0xA1E3 => '\u{223C}',
        0xA1F2 => '\u{2641}',
        0xA1F3 => '\u{2609}',
        0xA241 => '\u{FF0F}',
        0xA242 => '\u{FF3C}',
        0xA244 => '\u{00A5}',
        0xA246 => '\u{00A2}',
        0xA247 => '\u{00A3}',
        0xA3C0..=0xA3E1 | 0xC6A1..=0xC8FE | 0xF9DD..=0xF9FE => return Undefined,
        _ => return Mapping::Encoding,
    })
}

/// MySQL follows GB 18030-2000 where the encoding follows 2005 and 2022.
fn gb18030(number: u32) -> Mapping {
    Character(match number {
        0xA3A0 => '\u{E5E5}',
        0xA6D9 => '\u{E78D}',
        0xA6DA => '\u{E78E}',
        0xA6DB => '\u{E78F}',
        0xA6DC => '\u{E790}',
        0xA6DD => '\u{E791}',
        0xA6DE => '\u{E792}',
        0xA6DF => '\u{E793}',
        0xA6EC => '\u{E794}',
        0xA6ED => '\u{E795}',
        0xA6F3 => '\u{E796}',
        0xFE59 => '\u{E81E}',
        0xFE61 => '\u{E826}',
        0xFE66 => '\u{E82B}',
        0xFE67 => '\u{E82C}',
        0xFE6D => '\u{E832}',
        0xFE7E => '\u{E843}',
        0xFE90 => '\u{E854}',
        0xFEA0 => '\u{E864}',
        _ => return Mapping::Encoding,
    })
}

fn is_private_use(letter: char) -> bool {
    ('\u{E000}'..='\u{F8FF}').contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_map_as_in_mysql() {
        for (set, bytes, expected) in [
            (MultiByte::Sjis, &[b'a', 0x81, 0x60, 0xB1][..], Some("a〜ｱ")),
            (MultiByte::Cp932, &[0x81, 0x60], Some("～")),
            (MultiByte::Sjis, &[0x87, 0x40], None),
            (
                MultiByte::Ujis,
                &[0xA4, 0xA2, 0x8F, 0xB0, 0xA1],
                Some("あ丂"),
            ),
            (MultiByte::Ujis, &[0xF5, 0xA2], Some("\u{E001}")),
            (MultiByte::Gbk, &[0xD6, 0xD0, b'x'], Some("中x")),
            (MultiByte::Gbk, &[0xAA, 0xA1], None),
            (MultiByte::Gb18030, &[0x94, 0x39, 0xDA, 0x33], Some("💩")),
            (MultiByte::Big5, &[0xA4, 0xA4], Some("中")),
            (MultiByte::EucKr, &[0xB0, 0xA1], Some("가")),
            (MultiByte::EucKr, &[0xB0], None),
            (MultiByte::Gb18030, &[0x94, 0x39, 0xDA], None),
        ] {
            assert_eq!(set.text(bytes).as_deref(), expected, "{set:?} {bytes:02X?}");
        }
    }
}
