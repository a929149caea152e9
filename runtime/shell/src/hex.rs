//! Hexadecimal digits, both ways.

/// Bytes of an even number of digits; none for anything else.
pub fn decode(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| {
        let (high, low) = (nibble(pair.first()?)?, nibble(pair.get(1)?)?);
        u8::try_from(high * 16 + low).ok()
    };
    digits.chunks(2).map(byte).collect()
}

/// Two lower-case digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written reads back; half a byte and other letters are refused.
    #[test]
    fn hex_round_trip_and_refusals() {
        assert_eq!(
            decode(encode(&[0, 0xab, 0xff]).as_bytes()),
            Some(vec![0, 0xab, 0xff])
        );
        assert_eq!(decode(b"abc"), None);
        assert_eq!(decode(b"zz"), None);
        assert_eq!(decode("é".as_bytes()), None);
    }
}
