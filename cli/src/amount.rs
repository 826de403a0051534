//! Amounts as people type them, counts, sizes and other whole numbers, and sizes as people read them.
//!
//! One grammar for all of them, of which nccl-tests' is a part: `8`, `1_000`, `1e6`, `64K`, `1.5G`, `64KiB`. K, M and G are
//! powers of 1024, whatever follows them.

/// Bytes in `text`. What is no whole number of them is rounded down, as nccl-tests does.
///
/// # Errors
/// What a size looks like.
pub fn bytes(text: &str) -> Result<u64, String> {
    let form = "give a number such as 8, 1K, 32M or 1.5G";
    match read(text) {
        Ok((bytes, _)) => Ok(bytes),
        Err(Wrong::Form) => Err(format!("'{text}' is no size; {form}")),
        Err(Wrong::Large) => Err(format!("'{text}' is no size that memory can have; {form}")),
    }
}

/// The whole number in `text`.
///
/// # Errors
/// What a number looks like, or that this one is too large.
pub fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let large = || format!("that is too large; give at most {}", u64::MAX >> (64 - 8 * size_of::<T>().min(8)));
    match read(text) {
        Ok((number, true)) => T::try_from(number).map_err(|_| large()),
        Err(Wrong::Large) => Err(large()),
        Ok((_, false)) | Err(Wrong::Form) => Err("give a whole number such as 256, 64K or 1M".to_owned()),
    }
}

/// `bytes` in whole MiB, or below one in whole KiB.
pub(crate) fn size_name(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

enum Wrong {
    Form,
    Large,
}

/// The number, rounded down, and whether it was whole.
fn read(text: &str) -> Result<(u64, bool), Wrong> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u128 = match text[number.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        _ => return Err(Wrong::Form),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| Wrong::Form)?),
        None => (number, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (before, after) = (digits(before)?, digits(after)?.trim_end_matches('0').to_owned());
    if before.is_empty() && !mantissa.contains(|c: char| c.is_ascii_digit()) {
        return Err(Wrong::Form);
    }
    let all: u128 = format!("0{before}{after}").parse().map_err(|_| Wrong::Large)?;
    let all = all.checked_mul(unit).ok_or(Wrong::Large)?;
    let shift = exponent.saturating_sub(after.len() as i32);
    let power = 10_u128.checked_pow(shift.unsigned_abs()).ok_or(Wrong::Large)?;
    let (number, whole) = match shift {
        0.. => (all.checked_mul(power).ok_or(Wrong::Large)?, true),
        _ => (all / power, all % power == 0),
    };
    u64::try_from(number).map(|number| (number, whole)).map_err(|_| Wrong::Large)
}

/// Without the `_` that stand between digits.
fn digits(text: &str) -> Result<String, Wrong> {
    let groups = text.split('_');
    let wrong = |group: &str| group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_digit());
    match text.is_empty() {
        true => Ok(String::new()),
        false if groups.clone().any(wrong) => Err(Wrong::Form),
        false => Ok(groups.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_have_one_grammar() {
        for (text, size, count) in [
            ("8", Some(8), Some(8)),
            ("0", Some(0), Some(0)),
            ("1K", Some(1024), Some(1024)),
            ("1k", Some(1024), Some(1024)),
            ("1m", Some(1 << 20), Some(1 << 20)),
            ("32M", Some(32 << 20), Some(32 << 20)),
            ("1.5G", Some(3 << 29), Some(3 << 29)),
            ("1.5K", Some(1536), Some(1536)),
            (".5k", Some(512), Some(512)),
            ("2.", Some(2), Some(2)),
            ("8KB", Some(8192), Some(8192)),
            ("8kib", Some(8192), Some(8192)),
            ("64KiB", Some(65536), Some(65536)),
            ("64Ki", Some(65536), Some(65536)),
            ("8MB", Some(8 << 20), Some(8 << 20)),
            ("2GiB", Some(2 << 30), Some(2 << 30)),
            ("100B", Some(100), Some(100)),
            ("1e6", Some(1_000_000), Some(1_000_000)),
            ("1.5E3", Some(1500), Some(1500)),
            ("25e-1K", Some(2560), Some(2560)),
            ("1_000", Some(1000), Some(1000)),
            ("1_048_576", Some(1 << 20), Some(1 << 20)),
            ("18446744073709551615", Some(u64::MAX), Some(u64::MAX)),
            ("1.50", Some(1), None),
            ("1.3K", Some(1331), None),
            ("18446744073709551616", None, None),
            ("17179869184G", None, None),
            ("99999999999999999G", None, None),
            ("1e400", None, None),
            ("1e-400", None, None),
            ("1e99999999999", None, None),
            ("9999999999999999999999999999999999999999999", None, None),
            ("", None, None),
            (".", None, None),
            ("K", None, None),
            ("e3", None, None),
            ("8 K", None, None),
            ("8T", None, None),
            ("8Kx", None, None),
            ("8K8", None, None),
            ("-8", None, None),
            ("+8", None, None),
            ("1,000", None, None),
            ("1__0", None, None),
            ("_1", None, None),
            ("1_", None, None),
            ("1.2.3", None, None),
            ("nan", None, None),
            ("inf", None, None),
            ("\u{0663}", None, None),
        ] {
            assert_eq!((bytes(text).ok(), whole::<u64>(text).ok()), (size, count), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_too_large_is_told_from_none() {
        for (text, fragment) in [("4294967296", "too large"), ("1e400", "too large"), ("x", "whole number")] {
            assert!(whole::<u32>(text).unwrap_err().contains(fragment), "{text}");
        }
        for (text, fragment) in [("17179869184G", "memory can have"), ("8X", "'8X' is no size; give a number")] {
            assert!(bytes(text).unwrap_err().contains(fragment), "{text}");
        }
    }

    #[test]
    fn sizes_are_named() {
        let sizes = [0, 1 << 10, (1 << 20) - 1, 1 << 20, 64 << 20, 3 << 30];
        assert_eq!(sizes.map(size_name), ["0 KiB", "1 KiB", "1023 KiB", "1 MiB", "64 MiB", "3072 MiB"]);
    }
}
