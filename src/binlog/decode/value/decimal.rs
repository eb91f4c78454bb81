//! DECIMAL's packed form: groups of nine digits in four big-endian bytes, the
//! first and last group in fewer (MySQL source, `strings/decimal.cc`,
//! `decimal2bin`).

use crate::binlog::decode::error::ValueError;
use crate::binlog::events::cursor::Cursor;

/// Digits in a full group.
const GROUP: u8 = 9;

/// The bytes of a group of so many digits.
const fn group_bytes(digits: u8) -> u8 {
    digits.div_ceil(2) - if digits == 9 { 1 } else { 0 }
}

/// How many bytes DECIMAL(`precision`,`scale`) takes; `None` where MySQL has no
/// such type (MySQL manual, "DECIMAL Data Type Characteristics").
pub fn width(precision: u8, scale: u8) -> Option<usize> {
    if precision == 0 || precision > 65 || scale > 30 {
        return None;
    }
    let integer = precision.checked_sub(scale)?;
    let part = |digits: u8| digits / GROUP * 4 + group_bytes(digits % GROUP);
    Some(usize::from(part(integer)) + usize::from(part(scale)))
}

/// Appends the value as SELECT prints it: no leading zeros but one before the
/// point, and exactly `scale` digits after it.
pub fn write_text(
    precision: u8,
    scale: u8,
    packed: &[u8],
    out: &mut String,
) -> Result<(), ValueError> {
    let mut bytes = [0; 32];
    let n = width(precision, scale).ok_or(ValueError::Decimal)?;
    let bytes = bytes.get_mut(..n).ok_or(ValueError::Length)?;
    if packed.len() != n {
        return Err(ValueError::Length);
    }
    bytes.copy_from_slice(packed);
    // The first bit is inverted so that packed values sort as bytes; a negative
    // value has all its bits inverted too.
    let negative = bytes.first().is_some_and(|first| first & 0x80 == 0);
    if let Some(first) = bytes.first_mut() {
        *first ^= 0x80;
    }
    if negative {
        for byte in &mut *bytes {
            *byte = !*byte;
        }
        out.push('-');
    }

    let mut groups = Cursor::new(bytes);
    let mut group = |digits: u8| -> Result<u32, ValueError> {
        let value = groups
            .uint_be(usize::from(group_bytes(digits)))
            .map_err(|_| ValueError::Length)?;
        match u32::try_from(value) {
            Ok(value) if value < 10_u32.pow(u32::from(digits)) => Ok(value),
            _ => Err(ValueError::Decimal),
        }
    };

    let integer = precision - scale;
    let mut started = false;
    let mut put = |digits: u8, value: u32, out: &mut String| {
        if started {
            push_digits(out, value, digits);
        } else if value != 0 {
            started = true;
            out.push_str(itoa::Buffer::new().format(value));
        }
    };
    if !integer.is_multiple_of(GROUP) {
        put(integer % GROUP, group(integer % GROUP)?, out);
    }
    for _ in 0..integer / GROUP {
        put(GROUP, group(GROUP)?, out);
    }
    if !started {
        out.push('0');
    }
    if scale > 0 {
        out.push('.');
        for _ in 0..scale / GROUP {
            push_digits(out, group(GROUP)?, GROUP);
        }
        if !scale.is_multiple_of(GROUP) {
            push_digits(out, group(scale % GROUP)?, scale % GROUP);
        }
    }
    Ok(())
}

/// Appends `value` with leading zeros up to `digits` digits, of which a group has
/// at most nine.
fn push_digits(out: &mut String, mut value: u32, digits: u8) {
    let mut text = [b'0'; 9];
    let text = text.split_at_mut(usize::from(digits.min(GROUP))).0;
    for digit in text.iter_mut().rev() {
        *digit += u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
    out.push_str(str::from_utf8(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(precision: u8, scale: u8, packed: &[u8]) -> Result<String, ValueError> {
        let mut out = String::new();
        write_text(precision, scale, packed, &mut out).map(|()| out)
    }

    #[test]
    fn widths_are_those_of_the_manual() {
        for (precision, scale, expected) in [
            (18, 9, Some(8)),
            (20, 6, Some(10)),
            (65, 30, Some(30)),
            (1, 0, Some(1)),
            (1, 1, Some(1)),
            (10, 2, Some(5)),
            (0, 0, None),
            (66, 0, None),
            (5, 6, None),
            (40, 31, None),
        ] {
            assert_eq!(width(precision, scale), expected, "{precision},{scale}");
        }
    }

    #[test]
    fn values_print_as_select_prints_them() {
        // The first two are the examples in the MySQL source's comment.
        for (precision, scale, packed, expected) in [
            (
                14,
                4,
                &[0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2][..],
                "1234567890.1234",
            ),
            (
                14,
                4,
                &[0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D],
                "-1234567890.1234",
            ),
            (4, 2, &[0x80, 0x00], "0.00"),
            (4, 2, &[0x81, 50], "1.50"),
            (4, 2, &[0x7E, !50], "-1.50"),
            (2, 2, &[0x85], "0.05"),
            (5, 0, &[0x80, 0x00, 0x07], "7"),
        ] {
            assert_eq!(text(precision, scale, packed).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn damaged_groups_are_refused() {
        assert_eq!(text(4, 2, &[0x80, 100]), Err(ValueError::Decimal));
        assert_eq!(text(4, 2, &[0x80]), Err(ValueError::Length));
        assert_eq!(text(70, 2, &[0x80]), Err(ValueError::Decimal));
    }
}
