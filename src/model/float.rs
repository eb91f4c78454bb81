//! FLOAT and DOUBLE as SELECT prints them (MySQL source, `strings/dtoa.cc`,
//! `my_gcvt` and `my_fcvt`).

use std::fmt::{self, Write as _};

/// Powers of ten within which MySQL prints no exponent, for a value written as
/// `0.d1d2d3… × 10^point`.
const POINT_PLAIN: std::ops::RangeInclusive<i32> = -14..=15;

/// Appends `number` with the fewest digits that read back as itself.
pub fn write_double(number: f64, out: &mut Vec<u8>) {
    let mut shortest = FloatText::default();
    if write!(shortest, "{number:e}").is_err() {
        return;
    }
    // Between two shortest texts that are equally near MySQL takes the one with
    // an even last digit, as rounding to that many digits does; Rust takes the
    // upper one.
    let digits = shortest.text().split('e').next().unwrap_or_default();
    let digits = digits.bytes().filter(u8::is_ascii_digit).count();
    let mut rounded = FloatText::default();
    let precision = digits.saturating_sub(1);
    let reads_back =
        write!(rounded, "{number:.precision$e}").is_ok() && rounded.text().parse() == Ok(number);
    let chosen = if reads_back { &rounded } else { &shortest };
    write_scientific(chosen.text(), out);
}

/// Appends `number` with at most 6 significant digits (`FLT_DIG`), so that a
/// FLOAT prints fewer digits than it holds.
pub fn write_float(number: f32, out: &mut Vec<u8>) {
    let mut rounded = FloatText::default();
    if write!(rounded, "{:.5e}", f64::from(number)).is_ok() {
        write_scientific(rounded.text(), out);
    }
}

/// Appends `number` with exactly `decimals` digits after the point, as
/// FLOAT(M,D) and DOUBLE(M,D) print.
pub fn write_fixed(number: f64, decimals: u8, out: &mut Vec<u8>) {
    let decimals = usize::from(decimals);
    out.extend_from_slice(format!("{number:.decimals$}").as_bytes());
}

/// Room for a number in Rust's form, at most `-1.7976931348623157e-308`.
#[derive(Default)]
struct FloatText {
    bytes: [u8; 32],
    length: usize,
}

impl FloatText {
    fn text(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        str::from_utf8(written).unwrap_or_default()
    }
}

impl fmt::Write for FloatText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Rewrites Rust's `[-]d[.ddd]e[-]xx` in MySQL's form.
fn write_scientific(text: &str, out: &mut Vec<u8>) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    out.extend_from_slice(sign.as_bytes());
    let parsed = text
        .split_once('e')
        .and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?)));
    let Some((mantissa, exponent)) = parsed else {
        // Infinity and NaN, which MySQL does not store.
        out.extend_from_slice(text.as_bytes());
        return;
    };
    let mut digits = [0; 32];
    let mut length = 0;
    for (to, from) in digits
        .iter_mut()
        .zip(mantissa.bytes().filter(u8::is_ascii_digit))
    {
        *to = from;
        length += 1;
    }
    let digits = digits.get(..length).unwrap_or_default();
    let significant = digits
        .iter()
        .rposition(|digit| *digit != b'0')
        .map_or(1, |last| last + 1);
    let digits = digits.get(..significant).unwrap_or_default();

    let point = exponent + 1;
    if !POINT_PLAIN.contains(&point) {
        let (first, rest) = digits.split_at_checked(1).unwrap_or_default();
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    } else if let Ok(before) = usize::try_from(point)
        && before > 0
    {
        match digits.split_at_checked(before) {
            Some((whole, fraction)) => {
                out.extend_from_slice(whole);
                if !fraction.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(fraction);
                }
            }
            None => {
                out.extend_from_slice(digits);
                out.resize(out.len() + (before - digits.len()), b'0');
            }
        }
    } else {
        out.extend_from_slice(b"0.");
        let zeros = usize::try_from(point.unsigned_abs()).unwrap_or_default();
        out.resize(out.len() + zeros, b'0');
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The expectations are what MySQL 9.7 prints.
    #[test]
    fn doubles_print_as_select_prints_them() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e15, "1e15"),
            (999_999_999_999_999.0, "999999999999999"),
            (1_234_567_890_123_456.0, "1.234567890123456e15"),
            (123_456_789_012_345_678.0, "1.2345678901234568e17"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (5e-324, "5e-324"),
            (1_585_289_514.753_906_2, "1585289514.7539062"),
            (f64::MAX, "1.7976931348623157e308"),
            (0.000_012_345_678_901_234_567, "0.000012345678901234568"),
        ] {
            assert_eq!(text(|out| write_double(number, out)), expected);
        }
    }

    /// The expectations are what MySQL 9.7 prints.
    #[test]
    fn floats_print_six_digits() {
        for (number, expected) in [
            (16_777_216.0, "16777200"),
            (0.1, "0.1"),
            (1_000_005.0, "1000000"),
            (999_999.5, "1000000"),
            (123_456.75, "123457"),
            (1e-7, "0.0000001"),
            (1.5e-14, "0.000000000000015"),
            (f32::MAX, "3.40282e38"),
            (1.17549e-38, "1.17549e-38"),
            (-0.0, "-0"),
        ] {
            assert_eq!(text(|out| write_float(number, out)), expected);
        }
    }

    #[test]
    fn a_scale_keeps_its_zeros() {
        for (number, decimals, expected) in [
            (1.5, 2, "1.50"),
            (9_999_999.999, 3, "9999999.999"),
            (0.0, 2, "0.00"),
            (2.0, 0, "2"),
        ] {
            assert_eq!(text(|out| write_fixed(number, decimals, out)), expected);
        }
    }
}
