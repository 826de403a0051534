//! C's number formats: `%g`, `%e`, and nccl-tests' cells, which lose decimals before they overflow.
//!
//! Scrapers of nccl-tests read columns by width, so the very digits must be the same.

/// `value` in `width` characters: two decimals, then one, then none, then an exponent.
pub(super) fn cell(value: f64, width: usize) -> String {
    if !value.is_finite() {
        return format!("{:>width$}", if value.is_nan() { "nan" } else { "inf" });
    }
    let digits = (0..20).take_while(|&power| value >= 10_f64.powi(power)).count();
    match digits {
        _ if digits + 2 < width => format!("{value:width$.2}"),
        _ if digits + 1 < width => format!("{value:width$.1}"),
        _ if digits < width + 1 => format!("{value:width$.0}"),
        _ => format!("{:>width$}", exponent(value, usize::from(width >= 7))),
    }
}

/// `%g`: six significant digits, without trailing zeros.
pub(super) fn general(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { format!("{value}").to_lowercase() };
    }
    // Rounding to six digits may carry into the next power of ten, so the exponent is that of the rounded number.
    let scientific = format!("{value:.5e}");
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    if (-4..6).contains(&power) {
        trimmed(&format!("{value:.*}", (5 - power) as usize)).to_owned()
    } else {
        let text = exponent(value, 5);
        match text.split_once('e') {
            Some((mantissa, power)) => format!("{}e{power}", trimmed(mantissa)),
            None => text,
        }
    }
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `%.Ne`: the exponent has a sign and two digits.
fn exponent(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$e}");
    match text.split_once('e').and_then(|(mantissa, power)| Some((mantissa, power.parse::<i32>().ok()?))) {
        Some((mantissa, power)) => format!("{mantissa}e{power:+03}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by the C function, compiled.
    #[test]
    fn cells_lose_decimals_before_they_overflow() {
        for (value, width, text) in [
            (0.0, 7, "   0.00"),
            (0.5, 6, "  0.50"),
            (9.999, 7, "  10.00"),
            (1234.5678, 7, "1234.57"),
            (12345.678, 7, "12345.7"),
            (123_456.78, 7, " 123457"),
            (1_234_567.8, 7, "1234568"),
            (12_345_678.0, 7, "1.2e+07"),
            (123.456, 6, "123.46"),
            (1234.56, 6, "1234.6"),
            (123_456.0, 6, "123456"),
            (1_234_567.0, 6, " 1e+06"),
            (f64::NAN, 7, "    nan"),
        ] {
            assert_eq!(cell(value, width), text, "{value}");
        }
    }

    #[test]
    fn general_numbers_have_six_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (12.34567, "12.3457"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (1e6, "1e+06"),
            (0.000_123_456_7, "0.000123457"),
            (0.000_012_345_67, "1.23457e-05"),
            (999_999.7, "1e+06"),
        ] {
            assert_eq!(general(value), text, "{value}");
        }
    }
}
