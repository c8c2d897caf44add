//! Histories as text: one letter an input, so that one can write them down and read them again.

/// The letter of an alphabet that a byte stands for: itself, if it is one, or some other.
pub(crate) fn letter(alphabet: &[u8], byte: u8) -> u8 {
    if alphabet.contains(&byte) {
        return byte;
    }
    alphabet[usize::from(byte) % alphabet.len()]
}

/// Takes the next byte as a choice of so many: `'0'` is the first, `'1'` the second.
pub(crate) fn choice(bytes: &mut impl Iterator<Item = u8>, of: u8) -> u8 {
    bytes.next().unwrap_or(b'0').wrapping_sub(b'0') % of
}
